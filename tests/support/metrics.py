"""GET /metrics, read by Prometheus' own parsers."""

import re
from collections import Counter

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_metrics_parser

from support.server import Server

OPEN_METRICS = "application/openmetrics-text"


class Metrics:
    """One scrape."""

    def __init__(self, text: str, open_metrics: bool = False):
        parse = (open_metrics_parser if open_metrics else parser).text_string_to_metric_families
        self.families = list(parse(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 where it does not exist yet."""
        found = self.all(name, **labels)
        assert len(found) <= 1, found
        return found[0].value if found else 0

    def all(self, name: str, **labels: str) -> list:
        """The samples of that name that have these labels."""
        return [s for s in self.samples if s.name == name and labels.items() <= s.labels.items()]

    def repeated(self) -> list[str]:
        """What stands there more than once, which Prometheus would refuse."""
        counts = Counter((s.name, *sorted(s.labels.items())) for s in self.samples)
        return [str(key) for key, count in counts.items() if count > 1]


def scrape(server: Server) -> Metrics:
    reply = server.get("/metrics")
    assert reply.status == 200, reply
    return Metrics(reply.text)


def is_unbounded(value: str) -> bool:
    """True for a label that would make a series for every day, run or request."""
    return bool(re.search(r"\d{4}-\d\d|[0-9a-f]{8}-[0-9a-f]{4}", value))
