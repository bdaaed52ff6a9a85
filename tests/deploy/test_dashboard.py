"""deploy/grafana-dashboard.json: it asks for what the service exposes, in expressions that Prometheus understands."""

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from support.datasets import BASE_DATES, slow_source
from support.faults import s3_error
from support.metrics import scrape
from support.paths import REPO
from support.tools import promtool_program

DAY = BASE_DATES[0]
DASHBOARD = json.loads((REPO / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
EXPRESSIONS += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
GRAFANAS = {"$__rate_interval": "5m", "$instance": ".*"}
OF_THE_SCRAPE = {"instance", "le"}


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:kpid|process)_\w+", expression))


def labels_of(expression: str) -> set[str]:
    """Those that it selects or groups by."""
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")}
    return (grouped | set(re.findall(r"(\w+)\s*[=!]~?\"", expression))) - OF_THE_SCRAPE


def rule_findings(folder: Path, expressions: list[str]) -> str:
    """What promtool says of expressions, as rules; empty: nothing."""
    for variable, value in GRAFANAS.items():
        expressions = [expression.replace(variable, value) for expression in expressions]
    rules = [{"record": f"dashboard:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    path = folder / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool_program(), "check", "rules", path], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


def test_prometheus_understands_every_expression(tmp_path):
    assert len(EXPRESSIONS) >= 40
    assert rule_findings(tmp_path, EXPRESSIONS) == ""


@pytest.mark.parametrize("wrong", ["sum by state (kpid_runs)", "rate(kpid_scans_total)", "histogram_quantile(kpid_runs)"])
def test_wrong_expressions_would_be_noticed(tmp_path, wrong):
    assert "could not parse expression" in rule_findings(tmp_path, [wrong])


def test_every_metric_and_label_is_one_of_the_service(site, start_server, tmp_path):
    """Which has read from S3 past a cache, asked again, published to DynamoDB, failed, and been cancelled."""
    site.s3.spoil(s3_error(503, "SlowDown"), "ListObjectsV2", times=1)
    server = site.upload().server(KPI_CACHE_DIR=tmp_path / "cache")
    for _ in range(2):
        assert server.run(DAY)["state"] == "succeeded"
    assert server.run("2001-01-01", quality_gate="block")["state"] == "failed"
    slow = start_server(source=slow_source(tmp_path / "slow"), db=tmp_path / "slow.db", KPI_THREADS=1)
    run = slow.start_run(DAY)
    slow.post(f"/runs/{run['id']}/cancel")
    slow.finish(run["id"])
    samples = scrape(server).samples + scrape(slow).samples
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    for expression in EXPRESSIONS:
        assert metrics_of(expression) <= set(labels), expression
        assert labels_of(expression) <= {label for name in metrics_of(expression) for label in labels[name]}, expression


def test_every_family_of_the_service_is_shown(site):
    families = {family.name for family in scrape(site.server()).families if family.name.startswith("kpid_")}
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for expression in EXPRESSIONS for name in metrics_of(expression)}
    assert families - shown == set()


def test_panels_stand_beside_each_other():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(0 <= place["x"] and place["x"] + place["w"] <= 24 for place in places)
    overlapping = [
        (a, b)
        for a, b in combinations(places, 2)
        if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    ]
    assert overlapping == []


def test_every_panel_asks_the_source_that_was_chosen():
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "instance"]
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"] == chosen and all(target["datasource"] == chosen for target in panel["targets"])
            assert all("$instance" in target["expr"] for target in panel["targets"])
