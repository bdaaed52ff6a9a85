"""The request gate, by raw sockets: whatever the bytes, at most one request runs, nothing hangs, nothing is a 500."""

import itertools
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

HOST = b"Host: kpid.test\r\n"
PATIENCE_SECONDS = 5
REQUEST_DEADLINE_SECONDS = 30
TARGET_MAX, HEADERS_MAX, BODY_MAX = 2048, 64, 64 * 1024
HEAD_SECONDS, REQUEST_SECONDS = 10, 30

numbers = itertools.count(1)


def new_id(role: str) -> str:
    return f"{role}-{next(numbers)}"


def get(path: bytes = b"/livez", *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + path + b" " + version + b"\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"POST /runs HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def hidden_request(request_id: str) -> bytes:
    return get(b"/version", b"X-Request-Id: " + request_id.encode())


@dataclass(frozen=True)
class Answers:
    """What came back on one connection."""

    statuses: list[int]
    raw: bytes
    closed: bool
    seconds: float


def count_statuses(raw: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", raw)]


def talk(port: int, *packets: bytes, patience: float = PATIENCE_SECONDS, pause: float = 0) -> Answers:
    """Sends packets and reads until the server closes or stays silent for `patience`."""
    started = time.monotonic()
    raw, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            for packet in packets:
                connection.sendall(packet)
                time.sleep(pause)
        except OSError:
            pass  # the server has refused already; what it said may still be read
        try:
            while chunk := connection.recv(65536):
                raw += chunk
            closed = True
        except TimeoutError:
            pass
        except OSError:
            closed = True
    return Answers(count_statuses(raw), raw, closed, time.monotonic() - started)


def logged_ids(server) -> set[str]:
    """The ids of all requests that the server has run, once it has logged everything up to now."""
    last = new_id("last")
    assert server.get("/version", X_Request_Id=last).status == 200
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ids = {line.get("request_id") for line in list(server.logs) if line.get("event") == "http.request"}
        if last in ids:
            return ids
        time.sleep(0.01)
    raise AssertionError("the access log lacks a request")


H = b"X-Before: 1"
FRAMING = {
    "two lengths, same": post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
    "two lengths, 0 first": post(b"Content-Length: 0", b"Content-Length: 60"),
    "two lengths, 0 last": post(b"Content-Length: 60", b"Content-Length: 0"),
    "three lengths": post(b"Content-Length: 0", b"X: y", b"content-length: 0", b"CONTENT-LENGTH: 0"),
    "length as a list": post(b"Content-Length: 2, 2", body=b"{}"),
    "length with a plus": post(b"Content-Length: +2", body=b"{}"),
    "length in hex": post(b"Content-Length: 0x2", body=b"{}"),
    "negative length": post(b"Content-Length: -1"),
    "length over 64 bits": post(b"Content-Length: 18446744073709551617"),
    "length of 40 digits": post(b"Content-Length: " + b"9" * 40),
    "length without digits": post(b"Content-Length:"),
    "length with a point": post(b"Content-Length: 2.0", body=b"{}"),
    "length with a blank inside": post(b"Content-Length: 1 0", body=b"{}"),
    "length with a blank before the colon": post(b"Content-Length : 60"),
    "length with a NUL": post(b"Content-Length: 0\x0060"),
    "length folded": post(b"Content-Length: 0\r\n 60"),
    "length behind a bare LF": post(b"X: y\nContent-Length: 60"),
    "length and chunked": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n"),
    "chunked": post(b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    "chunked with an extension": post(b"Transfer-Encoding: chunked", body=b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "chunked with bare LF": post(b"Transfer-Encoding: chunked", body=b"2\n{}\n0\n\n"),
    "chunked with a huge size": post(b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "identity, then chunked": post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity", b"Content-Length: 2", body=b"{}"),
    "unknown coding": post(b"Transfer-Encoding: xchunked"),
    "unknown coding and length": post(b"Transfer-Encoding: xchunked", b"Content-Length: 60"),
    "coding list": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "quoted coding": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "empty coding": post(b"Transfer-Encoding:", b"Content-Length: 60"),
    "coding behind a tab": post(b"Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"),
    "coding behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "coding with a blank before the colon": post(b"Transfer-Encoding : chunked", b"Content-Length: 60"),
    "coding with a tab before the colon": post(b"Transfer-Encoding\t: chunked", b"Content-Length: 60"),
    "coding folded": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    "coding hidden in a fold": post(b"X: y\r\n Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding behind a bare CR": post(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding on GET": get(b"/livez", b"Transfer-Encoding: chunked"),
    "coding on HTTP/1.0": get(b"/livez", b"Connection: keep-alive", b"Transfer-Encoding: chunked", version=b"HTTP/1.0"),
}
HOSTS = {
    "no Host": b"GET /livez HTTP/1.1\r\nX: y\r\n\r\n",
    "no header at all": b"GET /livez HTTP/1.1\r\n\r\n",
    "no Host on HTTP/1.0": b"GET /livez HTTP/1.0\r\nX: y\r\n\r\n",
    "two Hosts": get(b"/livez", b"Host: other"),
    "two equal Hosts": get(b"/livez", b"host: kpid.test"),
    "empty Host": b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n",
    "blank Host": b"GET /livez HTTP/1.1\r\nHost: \t \r\n\r\n",
    "Host list": b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "Host with a path": b"GET /livez HTTP/1.1\r\nHost: a/livez\r\n\r\n",
    "Host with a user": b"GET /livez HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "Host too long": b"GET /livez HTTP/1.1\r\nHost: " + b"a" * 256 + b"\r\n\r\n",
}
BYTES = {
    "NUL in a value": get(b"/livez", b"A: b\x00c", H),
    "NUL in the last value": get(b"/livez", H, b"A: b\x00c"),
    "NUL at the end of the last value": get(b"/livez", H, b"A: b\x00"),
    "NUL in a name": get(b"/livez", b"A\x00B: c"),
    "NUL in the path": get(b"/liv\x00ez"),
    "NUL in the query": get(b"/runs?a=\x00"),
    "NUL in the method": b"GE\x00T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the version": get(version=b"HTTP/1.1\x00"),
    "bell in a value": get(b"/livez", b"A: b\x07c"),
    "DEL in a value": get(b"/livez", b"A: b\x7fc"),
    "vertical tab in a value": get(b"/livez", b"A: b\x0bc"),
    "bare CR in a value": get(b"/livez", b"A: b\rC: d"),
    "CR before CR LF": get(b"/livez", b"A: b\r"),
    "bare LF after the first line": b"GET /livez HTTP/1.1\n" + HOST + b"\r\n",
    "bare LF after a header": b"GET /livez HTTP/1.1\r\nA: b\n" + HOST + b"\r\n",
    "bare LF after the last header": b"GET /livez HTTP/1.1\r\n" + HOST + b"A: b\n\r\n",
    "bare LF at the end": b"GET /livez HTTP/1.1\r\n" + HOST + b"\n",
    "bare LF everywhere": b"GET /livez HTTP/1.1\nHost: a\n\n",
    "no name": get(b"/livez", b": b"),
    "no colon": get(b"/livez", b"Nonsense"),
    "blank in a name": get(b"/livez", b"A B: c"),
    "blank before the colon": get(b"/livez", b"A : c"),
    "bracket in a name": get(b"/livez", b"A(B: c"),
    "byte above 127 in a name": get(b"/livez", b"\xc3\xa4: c"),
    "control byte in a name": get(b"/livez", b"A\x01: c"),
    "blank before the first header": b"GET /livez HTTP/1.1\r\n " + HOST + b"\r\n",
    "folded by a blank": get(b"/livez", b"A: b", b" c", H),
    "folded by a tab": get(b"/livez", b"A: b", b"\tc", H),
    "last header folded": get(b"/livez", H, b"A: b", b" c"),
}
FIRST_LINES = {
    "HTTP/0.9": b"GET /livez\r\n",
    "HTTP/2.0": get(version=b"HTTP/2.0"),
    "HTTP/1.2": get(version=b"HTTP/1.2"),
    "HTTP/1.10": get(version=b"HTTP/1.10"),
    "lower-case version": get(version=b"http/1.1"),
    "version of another protocol": get(version=b"ICAP/1.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 80 + b"\r\n\r\n",
    "doubled blanks": b"GET  /livez  HTTP/1.1\r\n" + HOST + b"\r\n",
    "blank at the end": b"GET /livez HTTP/1.1 \r\n" + HOST + b"\r\n",
    "tabs": b"GET\t/livez\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "blank in the path": get(b"/liv ez"),
    "absolute form": get(b"http://other/livez"),
    "authority form": b"CONNECT other:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "relative path": get(b"livez"),
    "%00 in the path": get(b"/livez%00x"),
    "escaped letter in the path": get(b"/%6civez"),
    "escaped dots in the path": get(b"/x/%2e%2e/livez"),
    "escaped slash in the path": get(b"/runs%2fx"),
    "backslash in the path": get(b"/x\\livez"),
    "fragment": get(b"/livez#x"),
    "byte above 127 in the path": get(b"/l\xc3\xafvez"),
    "byte above 127 in the query": get(b"/runs?label=\xc3\xaf"),
    "method with a control byte": b"G\x01T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "method with a bracket": b"G(T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "method of 17 letters": b"G" * 17 + b" /livez HTTP/1.1\r\n" + HOST + b"\r\n",
}
SIZES = {
    "target one byte too long": get(b"/" + b"a" * TARGET_MAX),
    "query one byte too long": get(b"/runs?" + b"a" * (TARGET_MAX - 5)),
    "target longer than the memory": get(b"/" + b"a" * 20000),
    "65 headers": get(b"/livez", *[b"A%d: b" % n for n in range(HEADERS_MAX)]),
    "500 headers": get(b"/livez", *[b"A%d: b" % n for n in range(500)]),
    "header longer than the memory": get(b"/livez", b"A: " + b"b" * 20000),
    "many bytes of headers": get(b"/livez", *[b"A%d: " % n + b"b" * 1000 for n in range(40)]),
    "body far too long": post(b"Content-Length: 99999999", b"Content-Type: application/json"),
    "Expect": post(b"Expect: 100-continue", b"Content-Length: 2", b"Content-Type: application/json", body=b"{}"),
    "unknown Expect": post(b"Expect: nonsense", b"Content-Length: 0"),
}
REFUSED = {**FRAMING, **HOSTS, **BYTES, **FIRST_LINES, **SIZES}


# No request line at all: nobody there would understand an answer.
NO_HTTP = {"TLS hello", "tabs"}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_head_runs_nothing_and_closes(server, name):
    second = new_id("second")
    answers = talk(server.port, REFUSED[name] + hidden_request(second))
    assert answers.closed, answers
    assert answers.statuses or name in NO_HTTP, "closed without an answer"
    assert all(400 <= status < 600 and status != 500 for status in answers.statuses), answers
    assert second not in answers.raw.decode("latin-1")
    assert second not in logged_ids(server)


def test_the_corpus_is_large():
    assert len(REFUSED) >= 100


GATE_STATUS = {
    "chunked": 411, "length and chunked": 411, "coding on GET": 411, "two lengths, same": 400, "no Host": 400,
    "two Hosts": 400, "%00 in the path": 400, "Expect": 417, "65 headers": 431, "target one byte too long": 414,
    "body far too long": 413, "bare LF after a header": 400, "NUL in a value": 400, "folded by a blank": 400,
    "absolute form": 400, "doubled blanks": 400, "blank in the path": 400,
}


@pytest.mark.parametrize("name, status", GATE_STATUS.items())
def test_gate_answers_once_with_a_problem_document(server, name, status):
    answers = talk(server.port, REFUSED[name])
    assert answers.statuses == [status]
    head, body = answers.raw.split(b"\r\n\r\n", 1)
    assert b"Content-Type: application/problem+json" in head
    assert b"Connection: close" in head
    problem = json.loads(body)
    assert problem["status"] == status
    assert b"X-Request-Id: " + problem["request_id"].encode() in head


ACCEPTED = {
    "plain": (get(), [200]),
    "HTTP/1.0": (get(version=b"HTTP/1.0"), [200]),
    "obs-text in a value": (get(b"/livez", b"A: \xe9"), [200]),
    "tab in a value": (get(b"/livez", b"A: b\tc"), [200]),
    "empty value": (get(b"/livez", b"A:"), [200]),
    "no blank after the colon": (get(b"/livez", b"A:b"), [200]),
    "blanks about a value": (get(b"/livez", b"A: \t b \t"), [200]),
    "line ends before the first line": (b"\r\n\r\n" + get(), [200]),
    "IPv6 Host": (b"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", [200]),
    "64 headers": (get(b"/livez", *[b"A%d: b" % n for n in range(HEADERS_MAX - 1)]), [200]),
    "longest target": (get(b"/" + b"a" * (TARGET_MAX - 1)), [404]),
    "body that is ignored": (get(b"/livez", b"Content-Length: 3")[:-2] + b"\r\nabc", [200]),
    "empty body": (post(b"Content-Length: 0"), [415]),
    "two requests": (get() + get(b"/version"), [200, 200]),
    "three requests, one unknown": (get() + get(b"/nothing") + get(b"/version"), [200, 404, 200]),
    "request after a refused body": (post(b"Content-Length: 2", body=b"{}") + get(), [415, 200]),
    "lone method of ours on a wrong path": (post(b"Content-Length: 0").replace(b"/runs", b"/livez"), [405]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_clean_requests_are_answered_and_the_connection_kept(server, name):
    request, statuses = ACCEPTED[name]
    answers = talk(server.port, request, patience=0.5)
    assert answers.statuses == statuses, answers
    assert answers.closed is (name == "HTTP/1.0")


def test_request_in_single_bytes(server):
    answers = talk(server.port, *[bytes([byte]) for byte in get()], patience=0.5)
    assert answers.statuses == [200]


def json_body(size: int) -> bytes:
    frame = b'{"nonsense":""}'
    return frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]


@pytest.mark.parametrize("size, statuses", [(BODY_MAX - 1, [422, 200]), (BODY_MAX, [422, 200]), (BODY_MAX + 1, [413]),
                                            (10 * BODY_MAX, [413])])
def test_body_limit(server, size, statuses):
    body = json_body(size)
    head = post(b"Content-Type: application/json", b"Content-Length: %d" % size)
    assert len(body) == size
    assert talk(server.port, head + body + get(), patience=1).statuses == statuses


def test_body_shorter_than_declared_is_never_run(server):
    first = new_id("first").encode()
    head = post(b"X-Request-Id: " + first, b"Content-Type: application/json", b"Content-Length: 100")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + b'{"date":"2023-01-15"}')
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(REQUEST_DEADLINE_SECONDS + PATIENCE_SECONDS)
        assert connection.recv(100) == b""
    assert server.all_runs() == []
    assert server.get("/livez").status == 200


def test_request_id_is_echoed_or_made(server):
    assert server.get("/livez", X_Request_Id="a.B-9_z").headers["x-request-id"] == "a.B-9_z"
    assert server.get("/livez", X_Request_Id="a" * 128).headers["x-request-id"] == "a" * 128
    for bad in ("a" * 129, "a b", "a/b", "ä", "<x>"):
        made = server.get("/livez", X_Request_Id=bad).headers["x-request-id"]
        assert len(made) == 36 and made != bad


def test_log_line_has_the_route_and_no_query(server):
    name = new_id("logged")
    server.request("GET", "/problems/internal-error", headers={"X-Request-Id": name})
    server.request("GET", "/nothing?secret=1", headers={"X-Request-Id": f"{name}-b"})
    assert {name, f"{name}-b"} <= logged_ids(server)
    lines = {line.get("request_id"): line for line in server.logs if line.get("event") == "http.request"}
    assert lines[name]["route"] == "/problems/{name}"
    assert (lines[name]["method"], lines[name]["status"]) == ("GET", 200)
    assert lines[name]["duration_ms"] >= 0
    assert "secret" not in json.dumps(lines[f"{name}-b"])


def test_health_checks_are_not_logged_at_info(server):
    name = new_id("health")
    for path in ("/livez", "/healthz", "/readyz"):
        server.get(path, X_Request_Id=name)
    logged_ids(server)
    assert not [line for line in server.logs if line.get("request_id") == name and line["level"] != "debug"]


# --- slow clients ------------------------------------------------------------------------------

def drip(port: int, first: bytes, limit: float, warm_up: bytes = b"") -> float:
    """Sends `first`, then a byte every half second; the seconds until the server closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        if warm_up:
            connection.sendall(warm_up)
            assert b"200 OK" in connection.recv(65536)
        started = time.monotonic()
        connection.sendall(first)
        connection.settimeout(0.5)
        while time.monotonic() - started < limit:
            try:
                if connection.recv(65536) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            try:
                connection.sendall(b"a")
            except OSError:
                break
        return time.monotonic() - started


SLOW = {
    "silent from the start": (b"", b"", HEAD_SECONDS),
    "slow head": (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", b"", HEAD_SECONDS),
    "slow first line": (b"GET /", b"", HEAD_SECONDS),
    "slow head on a kept connection": (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", get(), HEAD_SECONDS + 2),
    "slow body": (post(b"Content-Type: application/json", b"Content-Length: 60000"), b"", REQUEST_SECONDS),
}


def test_slow_clients_are_cut_off_at_absolute_deadlines(server):
    def seconds(case):
        first, warm_up, limit = SLOW[case]
        return drip(server.port, first, limit + 10, warm_up) if first else silent(server.port, limit + 10)

    with ThreadPoolExecutor(len(SLOW)) as pool:
        spent = dict(zip(SLOW, pool.map(seconds, SLOW), strict=True))
    for case, (_, _, limit) in SLOW.items():
        assert limit - 3 < spent[case] < limit + 3, spent
    assert server.get("/livez").status == 200


def silent(port: int, limit: float) -> float:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as connection:
        assert connection.recv(10) == b""
    return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_health_port_answers_when_the_api_is_full(start_server):
    health = free_port()
    server = start_server(KPI_HEALTH_LISTEN=f"127.0.0.1:{health}")
    for path, status in (("/livez", 200), ("/healthz", 200), ("/runs", 404), ("/version", 404)):
        assert talk(health, get(path.encode()), patience=0.3).statuses == [status]
    crowd = []
    try:
        for _ in range(900):
            crowd.append(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS))
            crowd[-1].sendall(b"GET /livez HTTP/1.1\r\nA: ")
        started = time.monotonic()
        assert talk(health, get(version=b"HTTP/1.0")).statuses == [200]
        assert time.monotonic() - started < 1
    finally:
        for connection in crowd:
            connection.close()
    assert server.get("/livez").status == 200
