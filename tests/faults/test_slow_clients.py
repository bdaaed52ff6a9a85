"""Slow clients, more than there is room for: health checks are answered, and everyone is when they are gone.

KPID_SLOW_CLIENTS says how many (300; deep: 2,000) and KPID_SLOW_SECONDS for how long (10; deep: 60); KPID_LOAD_SEED repeats
what they do.
"""

import http.client
import os
import time

import pytest

from support.datasets import BASE_DATES
from support.load import SEED, percentile
from support.paths import SLOWDOWN
from support.slow_clients import KINDS, SlowClients
from support.tools import free_port

CLIENTS = int(os.environ.get("KPID_SLOW_CLIENTS", "300"))
SECONDS = int(os.environ.get("KPID_SLOW_SECONDS", "10"))
HEALTH_SECONDS, BACK_SECONDS = 0.1, 1
CONNECTIONS_MAX = 1024


def ask(port: int, path: str, timeout: float) -> tuple[float, int | None]:
    """Seconds that a new connection and its answer take, and the status; None when it did not come in time."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        status = connection.getresponse().status
        return time.monotonic() - began, status
    except OSError:
        return time.monotonic() - began, None
    finally:
        connection.close()


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_slow_clients_keep_nobody_from_health_checks_nor_the_api_for_long(start_server, tell):
    health = free_port()
    server = start_server(KPI_HEALTH_LISTEN=f"127.0.0.1:{health}")
    checks: list[tuple[float, int | None]] = []
    meanwhile: list[int | None] = []  # of the API
    with SlowClients(server.port, CLIENTS, SEED) as crowd:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            checks.append(ask(health, "/healthz", 10))
            if len(checks) % 20 == 0:
                meanwhile.append(ask(server.port, "/version", 0.5)[1])
            time.sleep(0.02)
        gone = time.monotonic()
        crowd.hang_up()
        while ask(server.port, "/version", 0.2)[1] != 200:
            assert time.monotonic() - gone < 30, "the API does not answer any more"
        back = time.monotonic() - gone
        crowd.stop()
    seconds = [spent for spent, _ in checks]
    p99 = percentile(seconds, 99)
    faults = [f"/healthz: {status}" for _, status in checks if status != 200]
    if CLIENTS < CONNECTIONS_MAX:  # with more, the API has no room left
        faults += [f"/version: {status}" for status in meanwhile if status != 200]
    tell(
        f"{CLIENTS} slow clients for {SECONDS} s: {len(checks)} health checks, {len(faults)} violations, p99"
        f" {p99 * 1000:.1f} ms, slowest {max(seconds) * 1000:.1f} ms; the API answered {meanwhile.count(200)} of"
        f" {len(meanwhile)} requests and was back after {back * 1000:.0f} ms; {crowd.met}, KPID_LOAD_SEED={SEED}"
    )
    assert not faults, faults[:20]
    assert p99 < HEALTH_SECONDS * SLOWDOWN
    assert back < BACK_SECONDS * SLOWDOWN
    assert set(crowd.met) >= set(KINDS), "not every kind of slow client was there"
    assert server.run(BASE_DATES[0])["state"] == "succeeded"
