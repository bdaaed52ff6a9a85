"""Named limits, each at one below, at itself and at one above; those of heads and bodies are in test_http_gate.py.

Who is refused for want of room is let in when somebody leaves.
"""

import contextlib
import http.client
import socket
import time
from datetime import date, timedelta

import pytest

from support.datasets import BASE_DATES, slow_source
from support.problems import assert_problem
from support.server import Server
from support.tools import free_port

DAY = BASE_DATES[0]
CONNECTIONS_MAX, HEALTH_CONNECTIONS_MAX, WATCHERS_MAX = 1024, 64, 512
QUEUE_MAX, RANGE_DAYS_MAX = 10_000, 3660
QUERY_ARGS_MAX, METHOD_MAX, HOST_MAX, JSON_DEPTH_MAX = 32, 16, 255, 8
LABELS_MAX, LABEL_NAME_MAX, LABEL_VALUE_MAX, REASON_MAX = 32, 64, 255, 500
PATIENCE_SECONDS = 10


# --- what a request may say --------------------------------------------------------------------


@pytest.mark.parametrize("count, status", [(QUERY_ARGS_MAX - 1, 200), (QUERY_ARGS_MAX, 200), (QUERY_ARGS_MAX + 1, 400)])
def test_parameters_of_a_query(server, count, status):
    """The categories of a series are the one parameter that may be given more than once."""
    query = "&".join([f"from={DAY}", f"to={DAY}", *(f"category=c{n}" for n in range(count - 2))])
    reply = server.get(f"/kpis/categories?{query}")
    assert reply.status == status, reply
    if status == 400:
        assert_problem(reply, 400, "malformed-query")


@pytest.mark.parametrize("size, statuses", [(METHOD_MAX - 1, {405}), (METHOD_MAX, {405}), (METHOD_MAX + 1, {400})])
def test_letters_of_a_method(server, size, statuses):
    assert server.request("G" * size, "/livez").status in statuses


@pytest.mark.parametrize("size, status", [(HOST_MAX - 1, 200), (HOST_MAX, 200), (HOST_MAX + 1, 400)])
def test_letters_of_a_host(server, size, status):
    assert server.request("GET", "/livez", headers={"Host": "h" * size}).status == status


@pytest.mark.parametrize("depth", [JSON_DEPTH_MAX - 1, JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1])
def test_depth_of_json(server, depth):
    """No field takes so much; but only what is too deep is no JSON to us."""
    nested = '{"a":' * (depth - 1) + "1" + "}" * (depth - 1)
    reply = server.request(
        "POST", "/runs", f'{{"date":"{DAY}","labels":{nested}}}', {"Content-Type": "application/json"}
    )
    if depth > JSON_DEPTH_MAX:
        assert_problem(reply, 400, "malformed-json")
    else:
        assert_problem(reply, 422, "validation-failed")


@pytest.mark.parametrize(
    "limit, fields",
    [
        (LABELS_MAX, lambda n: {"labels": {f"k{k}": "v" for k in range(n)}}),
        (LABEL_NAME_MAX, lambda n: {"labels": {"k" * n: "v"}}),
        (LABEL_VALUE_MAX, lambda n: {"labels": {"k": "☃" * n}}),
        (REASON_MAX, lambda n: {"reason": "☃" * n}),
    ],
    ids=["labels", "label names", "label values", "reason"],
)
def test_what_is_said_of_a_run(server, limit, fields):
    for size, status in ((limit - 1, 202), (limit, 202), (limit + 1, 422)):
        reply = server.post("/runs", {"date": DAY, "publish": False, **fields(size)})
        assert reply.status == status, (size, reply)


# --- connections -------------------------------------------------------------------------------


class Kept:
    """A connection that is kept after its first answer."""

    def __init__(self, port: int, path: str = "/livez"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.ask(path)

    def ask(self, path: str) -> None:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def has_answer(self) -> bool:
        """Reads what has come by now."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(4096) != b""
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)

    def is_answered(self, seconds: float = PATIENCE_SECONDS) -> bool:
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096).startswith(b"HTTP/1.1 200")
        except TimeoutError:
            return False


@pytest.mark.parametrize("listener, most", [("api", CONNECTIONS_MAX), ("health", HEALTH_CONNECTIONS_MAX)])
def test_connections(start_server, listener, most):
    server = start_server(KPI_HEALTH_LISTEN=f"127.0.0.1:{free_port()}")
    port = server.port if listener == "api" else int(server.settings["KPI_HEALTH_LISTEN"].rsplit(":", 1)[1])
    other = server.port if listener == "health" else int(server.settings["KPI_HEALTH_LISTEN"].rsplit(":", 1)[1])
    with contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(most):
            crowd.append(Kept(port))
            stack.callback(crowd[-1].socket.close)
            assert crowd[-1].is_answered(), f"connection {len(crowd)} of {most}"
        above = Kept(port)
        stack.callback(above.socket.close)
        assert not above.is_answered(1), "one more than the limit was answered"
        beside = http.client.HTTPConnection("127.0.0.1", other, timeout=PATIENCE_SECONDS)
        beside.request("GET", "/livez")  # the other listener has room of its own
        assert beside.getresponse().status == 200
        beside.close()
        crowd[0].socket.close()
        assert above.is_answered(), "there is room, and who waits for it is not let in"


# --- those who wait ----------------------------------------------------------------------------


def fill_with_polls(server: Server, path: str, polls: list[Kept]) -> None:
    """Lets all of them wait; one whose place the probe has taken asks again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        probe = server.get(path.replace("wait=50", "wait=1"))
        refused = [poll for poll in polls if poll.has_answer()]
        if probe.status == 429 and not refused:
            break
        assert time.monotonic() < deadline, f"{probe.status}, {len(refused)} of {len(polls)} may not wait"
        for poll in refused:
            poll.ask(path)
    assert_problem(probe, 429, "too-many-watchers")
    assert int(probe.headers["retry-after"]) > 0


def test_long_polls(start_server, tmp_path):
    server = start_server(slow_source(tmp_path / "in", 2000), KPI_MAX_ACTIVE_RUNS="1")
    run = server.start_run(DAY)["id"]
    with contextlib.ExitStack() as stack:
        polls = [Kept(server.port, f"/runs/{run}?wait=50") for _ in range(WATCHERS_MAX)]
        for poll in polls:
            stack.callback(poll.socket.close)
        fill_with_polls(server, f"/runs/{run}?wait=50", polls)
        assert server.get(f"/runs/{run}").status == 200  # who does not wait is answered
        polls[0].socket.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (reply := server.get(f"/runs/{run}?wait=1")).status == 429:
            assert time.monotonic() < deadline, "the place of who has left is not given again"
        assert reply.status == 200, reply
        assert server.post(f"/runs/{run}/cancel").status == 202
        assert all(poll.is_answered() for poll in polls[1:])


# --- the queue ---------------------------------------------------------------------------------


def backfill(server: Server, days: int) -> str:
    first = date(2000, 1, 1)
    ask = {"start_date": str(first), "end_date": str(first + timedelta(days - 1)), "publish": False}
    reply = server.post("/backfills", ask)
    assert reply.status == 202, reply
    return reply.json["id"]


@pytest.mark.timeout(240)
def test_queued_runs(start_server, tmp_path):
    """A backfill and a single day are at work, so that all that follow stay queued."""
    server = start_server(slow_source(tmp_path / "in", 20_000), KPI_MAX_ACTIVE_RUNS="1")
    at_work = [f"/backfills/{backfill(server, 1)}", f"/runs/{server.start_run(DAY, publish=False)['id']}"]
    for path in at_work:
        server.await_begin(path)
    left = QUEUE_MAX - 2
    while left:
        size = min(left, RANGE_DAYS_MAX)
        backfill(server, size)
        left -= size
    ask = {"date": DAY, "publish": False}
    last = [server.post("/runs", ask) for _ in range(3)]  # below, at, and above the limit
    assert [reply.status for reply in last] == [202, 202, 429], last
    assert_problem(last[2], 429, "queue-full")
    assert server.get("/readyz").json["queued"] in range(QUEUE_MAX + 1)
    assert server.post(f"/runs/{last[0].json['id']}/cancel").status == 200
    again = server.post("/runs", ask)
    assert again.status == 202, again
    assert_problem(server.post("/runs", ask), 429, "queue-full")
    assert {server.get(path).json["state"] for path in at_work} == {"running"}
