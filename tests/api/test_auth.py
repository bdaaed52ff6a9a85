"""Who may do what: every endpoint with every kind of key, rotation, expiry, guessing, and where one may listen."""

import base64
import contextlib
import hashlib
import os
import signal
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from support.cli import CONFIG, OK, kpid
from support.datasets import BASE_DATES
from support.problems import assert_problem

DAY = BASE_DATES[0]
RUN_KEY, READ_KEY, OLD_KEY, TODAY_KEY = "run-secret", "read-secret", "old-secret", "today-secret"
GUESSES = int(os.environ.get("KPID_KEY_GUESSES", "2000"))


def entry(name, role, key, last_day=""):
    return f"{name}:{role}:{hashlib.sha256(key.encode()).hexdigest()}" + (
        f":{last_day}" if last_day else ""
    )


def day(offset):
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    from support.server import Server

    server = Server(
        tmp_path_factory.mktemp("auth") / "kpid.db",
        KPI_API_KEYS=", ".join(
            [
                entry("airflow", "run", RUN_KEY),
                entry("viewer", "read", READ_KEY),
                entry("old", "run", OLD_KEY, day(-1)),
                entry("today", "read", TODAY_KEY, day(0)),
            ]
        ),
    ).start()
    yield server
    server.kill()


def basic(key, user="x"):
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


CREDENTIALS = {
    "none": {},
    "bearer run": {"Authorization": f"Bearer {RUN_KEY}"},
    "scheme in capitals": {"Authorization": f"BEARER {RUN_KEY}"},
    "header run": {"X-API-Key": RUN_KEY},
    "basic run": {"Authorization": basic(RUN_KEY)},
    "basic without user": {"Authorization": basic(RUN_KEY, "")},
    "bearer read": {"Authorization": f"Bearer {READ_KEY}"},
    "last day": {"X-API-Key": TODAY_KEY},
    "too old": {"X-API-Key": OLD_KEY},
    "unknown": {"Authorization": "Bearer nobody"},
    "cut": {"Authorization": f"Bearer {RUN_KEY[:-1]}"},
    "longer": {"Authorization": f"Bearer {RUN_KEY}x"},
    "hash for key": {"Authorization": "Bearer " + hashlib.sha256(RUN_KEY.encode()).hexdigest()},
    "no scheme": {"Authorization": RUN_KEY},
    "other scheme": {"Authorization": f"Digest {RUN_KEY}"},
    "empty": {"Authorization": ""},
    "empty bearer": {"Authorization": "Bearer "},
    "empty key": {"X-API-Key": ""},
    "key as user": {"Authorization": "Basic " + base64.b64encode(f"{RUN_KEY}:".encode()).decode()},
    "no colon": {"Authorization": "Basic " + base64.b64encode(RUN_KEY.encode()).decode()},
    "bad base64": {"Authorization": "Basic !!!!"},
    "long": {"Authorization": "Bearer " + "k" * 4000},
    "two": {"Authorization": f"Bearer {RUN_KEY}", "X-API-Key": RUN_KEY},
}
MAY_RUN = {"bearer run", "scheme in capitals", "header run", "basic run", "basic without user"}
MAY_READ = MAY_RUN | {"bearer read", "last day"}
UNKNOWN = "01890000-0000-7000-8000-000000000000"
ENDPOINTS = [
    ("GET", "/runs"),
    ("GET", f"/runs/{UNKNOWN}"),
    ("GET", f"/runs/{UNKNOWN}/gate"),
    ("GET", f"/runs/{UNKNOWN}/results"),
    ("GET", f"/runs/{UNKNOWN}/quality"),
    ("GET", "/backfills"),
    ("GET", f"/backfills/{UNKNOWN}"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("GET", "/openapi.yaml"),
    ("GET", "/openapi.json"),
    ("GET", "/problems/internal"),
    ("GET", "/nowhere"),
    ("HEAD", "/runs"),
    ("OPTIONS", "/runs"),
    ("POST", "/runs"),
    ("POST", f"/runs/{UNKNOWN}/cancel"),
    ("POST", f"/runs/{UNKNOWN}/retry"),
    ("POST", "/backfills"),
    ("POST", f"/backfills/{UNKNOWN}/cancel"),
    ("POST", f"/backfills/{UNKNOWN}/retry"),
    ("POST", "/nowhere"),
    ("DELETE", "/runs"),
]


@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_matrix_of_endpoints_and_credentials(start_server, keyed, credentials):
    # A server of its own where the failures are counted.
    server = keyed if credentials in MAY_READ else start_server(KPI_API_KEYS=keyed.settings["KPI_API_KEYS"])
    before = None
    for method, path in ENDPOINTS:
        reply = server.request(method, path, headers=CREDENTIALS[credentials])
        if credentials not in MAY_READ:
            assert reply.status == 401, (method, path, reply)
            assert "Bearer" in reply.headers["www-authenticate"]
            if method != "HEAD":
                problem = assert_problem(reply, 401, "unauthenticated")
                before = before or problem["detail"]
                assert problem["detail"] == before  # the same for unknown and wrong
        elif credentials not in MAY_RUN and method in ("POST", "DELETE"):
            assert_problem(reply, 403, "forbidden")
        else:
            assert reply.status not in (401, 403), (method, path, reply)
    for path in ("/livez", "/healthz"):
        assert server.request("GET", path, headers=CREDENTIALS[credentials]).status == 200


def test_run_names_the_key_that_started_it_and_no_log_holds_a_key(keyed):
    reply = keyed.request(
        "POST",
        "/runs",
        f"date={DAY}",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-API-Key": RUN_KEY,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )
    assert reply.status == 202
    assert reply.json["trigger"]["principal"] == "airflow"
    assert reply.json["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    deadline = time.monotonic() + 20
    while not any(
        line.get("principal") == "airflow" and line.get("route") == "/runs" and line["status"] == 202
        for line in keyed.logs
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    text = str(keyed.logs)
    assert RUN_KEY not in text and READ_KEY not in text


@pytest.mark.parametrize(
    "header",
    ["", "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
     "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
     "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"],
)
def test_trace_that_is_none_is_left_out(server, header):
    reply = server.post("/runs", {"date": DAY, "publish": False}, traceparent=header)
    assert reply.json["trace_id"] is None


# --- rotation ----------------------------------------------------------------------------------


def status_for(server, key):
    return server.request("GET", "/runs", headers={"X-API-Key": key}).status


def await_status(server, key, status):
    deadline = time.monotonic() + 20
    while status_for(server, key) != status:
        assert time.monotonic() < deadline, (key, status)
        time.sleep(0.05)


def test_keys_rotate_without_a_restart(start_server, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# two\n{entry('a', 'run', 'one')}\n\n")
    server = start_server(KPI_API_KEYS_FILE=str(file))
    assert (status_for(server, "one"), status_for(server, "two")) == (200, 401)
    file.write_text(f"{entry('a', 'run', 'one')}\n{entry('a', 'run', 'two')} # new\n")
    server.process.send_signal(signal.SIGHUP)
    await_status(server, "two", 200)
    assert status_for(server, "one") == 200
    file.write_text(entry("a", "run", "two"))
    server.process.send_signal(signal.SIGHUP)
    await_status(server, "one", 401)
    for broken in ("nonsense", "", "# nothing\n"):  # never open to everyone by mistake
        file.write_text(broken)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert (status_for(server, "two"), status_for(server, "one")) == (200, 401)
    assert any(line["event"] == "auth.not_reloaded" for line in server.logs)
    assert server.terminate() == 0


# --- guessing ----------------------------------------------------------------------------------


def test_guessing_is_slowed_and_right_keys_pass(start_server):
    server = start_server(KPI_API_KEYS=entry("a", "run", RUN_KEY))
    statuses = [status_for(server, f"guess-{i}") for i in range(62)]
    first = statuses.index(429)
    assert statuses == [401] * first + [429] * (62 - first)
    assert first in (60, 61, 62) or statuses.count(401) >= 60  # a minute may end in between
    reply = server.request("GET", "/runs", headers={"X-API-Key": "guess"})
    assert int(reply.headers["retry-after"]) > 0
    assert status_for(server, RUN_KEY) == 200


def test_random_keys_are_never_accepted(start_server):
    server = start_server(KPI_API_KEYS=entry("a", "run", RUN_KEY))
    accepted = 0
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        reader = connection.makefile("rb")
        for begin in range(0, GUESSES, 50):
            keys = [os.urandom(32).hex() for _ in range(min(50, GUESSES - begin))]
            connection.sendall(
                b"".join(
                    f"GET /version HTTP/1.1\r\nHost: x\r\nX-API-Key: kpid_{key}\r\n\r\n".encode()
                    for key in keys
                )
            )
            for _ in keys:
                status = int(reader.readline().split()[1])
                length = 0
                while (line := reader.readline().strip()):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                reader.read(length)
                accepted += status not in (401, 429)
    print(f"random keys: {GUESSES} tried, {accepted} accepted")
    assert accepted == 0


def test_page_of_another_site_cannot_start_a_run(server):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 202), ("none", 202)):
        reply = server.request("POST", "/runs", f"date={DAY}&publish=false", {**form, "Sec-Fetch-Site": site})
        assert reply.status == status, (site, reply)
    assert server.request("GET", "/runs", headers={"Sec-Fetch-Site": "cross-site"}).status == 200


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    ["x", "a:run", "a:run:123", ":run:" + "0" * 64, "a:admin:" + "0" * 64, "a:run:" + "A" * 64,
     "a b:run:" + "0" * 64, "a:run:" + "0" * 64 + ":soon", "a:run:" + "0" * 64 + ":2026-02-30", ","],
)
def test_entries_that_are_none_stop_the_start_and_are_not_shown(keys):
    result = kpid("serve", env={"KPI_API_KEYS": keys, "KPI_SOURCE": "file:///tmp", "KPI_LISTEN": "127.0.0.1:0"})
    assert result.code == CONFIG, result
    assert "config_invalid" in result.err
    if len(keys) > 5:
        assert keys not in result.err.replace("KPI_API_KEYS", "")


def test_missing_file_of_keys_stops_the_start():
    result = kpid("check-config", env={"KPI_API_KEYS_FILE": "/nowhere/keys"})
    assert result.code == CONFIG
    assert "/nowhere/keys" in result.err


@pytest.mark.parametrize("address", ["0.0.0.0:0", ":0", "[::]:0"])
def test_without_keys_only_loopback_is_listened_on(tmp_path, address):
    env = {"KPI_SOURCE": "file:///tmp", "KPI_DB": str(tmp_path / "kpid.db"), "KPI_LISTEN": address}
    if address == "[::]:0":
        with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    result = kpid("serve", env=env)
    assert result.code == CONFIG, result
    assert "KPI_API_KEYS_FILE" in result.err or "cannot be listened on" in result.err


def test_other_addresses_are_listened_on_with_keys_or_when_allowed(start_server):
    for settings in ({"KPI_API_KEYS": entry("a", "run", RUN_KEY)}, {"KPI_ALLOW_NO_KEYS": "yes"}):
        server = start_server(KPI_LISTEN="0.0.0.0:0", **settings)
        assert server.get("/healthz").status == 200
        server.terminate()


def test_token_new_prints_a_key_and_its_entry(start_server):
    result = kpid("token", "new", "--name", "ci", "--role", "read", "--last-day", day(1))
    assert result.code == OK
    key = result.out.splitlines()[0].split()[1]
    line = result.out.splitlines()[1].split()[1]
    assert line == entry("ci", "read", key, day(1))
    assert len(key) == len("kpid_") + 64
    other = kpid("token", "new", "--name", "ci").out.splitlines()
    assert other[0].split()[1] != key
    assert other[1].split()[1].split(":")[1] == "run"
    server = start_server(KPI_API_KEYS=line)
    assert status_for(server, key) == 200


@pytest.mark.parametrize(
    "arguments",
    [[], ["old"], ["new"], ["new", "--name", "a b"], ["new", "--name", "a", "--role", "admin"],
     ["new", "--name", "a", "--last-day", "soon"], ["new", "--name", "a", "more"], ["new", "--what"]],
)
def test_token_refuses_what_it_does_not_take(arguments):
    result = kpid("token", *arguments)
    assert result.code == 64, result
