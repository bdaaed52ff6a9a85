"""GET /events and GET /runs/{id}/events: nothing is lost, nothing comes twice, nobody costs a thread.

KPID_STREAM_RUNS says how many runs clients that come and go are told of (150; deep: 3,000), KPID_LOAD_SEED repeats them.
"""

import os
import random
import signal
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from support.datasets import BASE_DATES
from support.events import EventStream, durable
from support.load import SEED
from support.paths import SLOWDOWN
from support.openapi import Description
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
STREAM_RUNS = int(os.environ.get("KPID_STREAM_RUNS", "150"))
WATCHERS_MAX = 512
HEARTBEAT_SECONDS, TAKES_NOTHING_SECONDS = 15, 30


def names(events) -> list[str]:
    return [event.name for event in events]


def all_events(server) -> list[dict]:
    """Every durable event of every run, from the pages."""
    events = [
        event
        for run in server.all_runs()
        for event in server.get(
            f"/runs/{run['id']}/events?limit=200", Accept="application/json"
        ).json["events"]
    ]
    return sorted(events, key=lambda event: event["seq"])


def status_of(server, key: str) -> int:
    """A number of /proc/PID/status: Threads, or VmRSS in KiB."""
    text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(key + ":"))
    return int(line.split()[1])


# --- one run -----------------------------------------------------------------------------------


def test_stream_of_a_run_tells_it_to_its_end(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with EventStream(slow_server, f"/runs/{run}/events") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        events = stream.rest()
    assert stream.retry_ms == 2000
    assert names(events)[0] == "snapshot"
    assert names(events)[-1] == "run.succeeded"
    assert "run.progress" in names(events)
    assert events[0].json["id"] == run


def test_events_are_as_described(slow_server):
    description = Description(slow_server)
    run = slow_server.start_run(DAY)["id"]
    with EventStream(slow_server, f"/runs/{run}/events?after=0") as stream:
        events = stream.rest()
    assert description.accepts("Run", events[0].json)
    assert names(durable(events)) == ["run.queued", "run.running", "run.succeeded"]
    for event in durable(events):
        assert description.accepts("Event", event.json)
        assert event.json["type"] == event.name
        assert event.json["seq"] == int(event.id)
    for event in events:
        if event.name == "run.progress":
            assert event.id is None
            assert description.accepts("ProgressEvent", event.json), event.data
    page = slow_server.get(f"/runs/{run}/events", Accept="application/json")
    description.check("GET", "/runs/{id}/events", page)
    assert [event.json for event in durable(events)] == page.json["events"]


def test_progress_grows_and_comes_at_most_twice_a_second(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with EventStream(slow_server, f"/runs/{run}/events") as stream:
        told = [event for event in stream.rest() if event.name == "run.progress"]
    read = [event.json["progress"]["bytes_read"] for event in told]
    assert read == sorted(read)
    assert read[-1] > 0
    span = told[-1].at - told[0].at
    assert len(told) <= 2 * span + 2, (len(told), span)


def test_stream_of_a_finished_run_is_its_end(server):
    run = server.run(DAY)["id"]
    with EventStream(server, f"/runs/{run}/events") as stream:
        events = stream.rest()
    assert names(events) == ["snapshot", "run.succeeded"]
    assert events[0].json["state"] == "succeeded"
    assert int(events[0].id) == int(events[1].id) - 1


def test_who_has_the_end_need_not_come_again(server):
    run = server.run(DAY)["id"]
    with EventStream(server, f"/runs/{run}/events") as stream:
        stream.rest()
    for last in (stream.last_id, str(int(stream.last_id) + 1), str(2**64 - 1)):
        with EventStream(server, f"/runs/{run}/events", last_id=last) as again:
            assert again.status == 204
    reply = server.get(f"/runs/{run}/events?after={stream.last_id}")
    assert (reply.status, reply.body) == (204, b"")
    before = str(int(stream.last_id) - 1)
    with EventStream(server, f"/runs/{run}/events", last_id=before) as again:
        assert names(again.rest()) == ["snapshot", "run.succeeded"]


def test_header_wins_over_the_parameter(server):
    run = server.run(DAY)["id"]
    last = server.get(f"/runs/{run}/events", Accept="application/json").json["events"][
        -1
    ]["seq"]
    with EventStream(
        server, f"/runs/{run}/events?after=0", last_id=str(last)
    ) as stream:
        assert stream.status == 204


def test_number_from_another_database_counts_as_now(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with EventStream(
        slow_server, f"/runs/{run}/events", last_id=str(2**64 - 1)
    ) as stream:
        assert names(durable(stream.rest()))[-1] == "run.succeeded"


def test_retried_run_has_a_stream_again(start_server, tmp_path):
    server = start_server(tmp_path / "nothing-here")
    run = server.run(DAY)
    assert run["state"] == "failed"
    with EventStream(server, f"/runs/{run['id']}/events") as stream:
        assert names(durable(stream.rest())) == ["run.failed"]
    assert server.post(f"/runs/{run['id']}/retry").status == 202
    with EventStream(
        server, f"/runs/{run['id']}/events", last_id=stream.last_id
    ) as again:
        if again.status != 204:
            assert names(durable(again.rest()))[-1] == "run.failed"
    server.finish(run["id"])
    page = server.get(f"/runs/{run['id']}/events", Accept="application/json").json
    assert [event["state"] for event in page["events"]] == [
        "queued",
        "running",
        "failed",
    ] * 2


def test_page_is_cut_and_goes_on(server):
    run = server.run(DAY)["id"]
    seen, after = [], 0
    while after is not None:
        reply = server.get(
            f"/runs/{run}/events?limit=1&after={after}", Accept="application/json"
        )
        assert len(reply.json["events"]) == 1
        seen += reply.json["events"]
        after = reply.json["next_cursor"]
        assert ('rel="next"' in reply.headers.get("link", "")) is (after is not None)
    assert [event["type"] for event in seen] == [
        "run.queued",
        "run.running",
        "run.succeeded",
    ]


def test_wrong_requests_are_refused(server):
    run = server.run(DAY)["id"]
    assert_problem(server.get(f"/runs/{UNKNOWN_ID}/events"), 404, "run-not-found")
    assert_problem(
        server.get(f"/runs/{UNKNOWN_ID}/events", Accept="application/json"),
        404,
        "run-not-found",
    )
    for path in (f"/runs/{run}/events", "/events"):
        assert_problem(server.get(path, Accept="text/html"), 406, "not-acceptable")
        assert_problem(server.get(f"{path}?after=x"), 400, "malformed-query")
        for id_sent in ("1\t2", ""):
            assert_problem(server.get(path, Last_Event_ID=id_sent), 400, "malformed-header")
    reply = server.get(f"/runs/{run}/events?limit=0", Accept="application/json")
    assert_problem(reply, 400, "malformed-query")


@pytest.mark.parametrize("path", ["/events", "/runs/{}/events"])
def test_head_is_the_head_only(server, path):
    run = server.run(DAY)["id"]
    reply = server.request("HEAD", path.format(run), headers={"Accept": "*/*"})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.media_type == "text/event-stream"


def test_http_1_0_gets_the_stream_until_the_connection_closes(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with EventStream(slow_server, f"/runs/{run}/events", version="1.0") as stream:
        assert "transfer-encoding" not in stream.headers
        assert names(stream.rest())[-1] == "run.succeeded"


# --- all runs ----------------------------------------------------------------------------------


def test_snapshot_of_all_holds_the_active_runs(slow_server):
    ids = [slow_server.start_run(f"2023-03-{day:02}")["id"] for day in range(1, 26)]
    with EventStream(slow_server, "/events") as stream:
        snapshot = stream.until("snapshot")[0].json
    active = [run["id"] for run in slow_server.all_runs("&active=true")]
    assert set(active) <= {run["id"] for run in snapshot["runs"]} <= set(ids)
    assert snapshot["more"] is False
    assert Description(slow_server).accepts("Run", snapshot["runs"][0])


def test_idle_service_has_an_empty_snapshot(start_server):
    with EventStream(start_server(), "/events") as stream:
        assert stream.until("snapshot")[0].json == {"runs": [], "more": False}


def test_snapshot_is_bounded(slow_server):
    first = slow_server.start_run("2020-01-01")["id"]
    for month in range(1, 13):
        for day in range(1, 19):
            slow_server.start_run(f"2019-{month:02}-{day:02}")
    with EventStream(slow_server, "/events") as stream:
        snapshot = stream.until("snapshot")[0].json
    assert len(snapshot["runs"]) == 200
    assert snapshot["more"] is True
    assert first not in {run["id"] for run in snapshot["runs"]}


def test_large_runs_fit_into_the_snapshot(slow_server):
    """The largest labels there can be, of more runs than a piece of a stream can hold."""
    labels = {f"{n:02}" + '"' * 60: "\x01" * 255 for n in range(32)}
    ids = [
        slow_server.start_run(f"2023-03-{day:02}", labels=labels)["id"]
        for day in range(1, 13)
    ]
    with EventStream(slow_server, "/events") as stream:
        snapshot = stream.until("snapshot")[0].json
        assert [run["labels"] for run in snapshot["runs"]] == [labels] * 12
        assert [run["id"] for run in snapshot["runs"]] == ids[::-1]
        slow_server.post(f"/runs/{ids[-1]}/cancel")
        assert stream.until("run.cancelled")[-1].json["run_id"] == ids[-1]


def test_every_run_is_told_at_once(server):
    with EventStream(server, "/events") as stream:
        stream.until("snapshot")
        delays = []
        for day in range(1, 11):
            started = time.monotonic()
            run = server.start_run(f"2023-01-{day:02}")["id"]
            events = stream.until("run.queued") + stream.until("run.succeeded")
            assert {event.json["run_id"] for event in durable(events)} == {run}
            delays.append(durable(events)[0].at - started)
    assert min(delays) < 0.05 * SLOWDOWN, delays


@pytest.mark.timeout(240 + STREAM_RUNS)
def test_random_disconnects_lose_nothing_and_repeat_nothing(start_server, tell):
    """Clients that come and go with Last-Event-ID, some of them in the middle of an event, have seen exactly what has
    happened."""
    server = start_server(KPI_MAX_ACTIVE_RUNS="4")
    chance = random.Random(SEED)
    stop = threading.Event()
    got: list[list[dict]] = [[] for _ in range(6)]
    connections = [0] * len(got)

    def follow(at: int, luck: random.Random) -> None:
        last = "0"
        while True:
            ends_now = stop.is_set()
            connections[at] += 1
            with EventStream(server, "/events", last_id=last) as stream:
                wanted = luck.randrange(1, 40)
                for event in stream.events(0.5 if ends_now else luck.random() / 4):
                    if event.name in ("snapshot", "comment", "run.progress"):
                        continue
                    got[at].append({**event.json, "id": int(event.id)})
                    wanted -= 1
                    if wanted == 0 and not ends_now:
                        break
                last = stream.last_id  # of the last whole event; half of another may have come
            if ends_now:
                return

    threads = [threading.Thread(target=follow, args=(at, random.Random(chance.random()))) for at in range(len(got))]
    for thread in threads:
        thread.start()
    first = date(2010, 1, 1)
    runs = [server.start_run(str(first + timedelta(n)), publish=n % 3 > 0)["id"] for n in range(STREAM_RUNS)]
    for run in runs:
        if chance.random() < 0.1:
            server.post(f"/runs/{run}/cancel")
    for run in runs:
        server.finish(run)
    stop.set()
    for thread in threads:
        thread.join()
    happened = [{**event, "id": event["seq"]} for event in all_events(server)]
    faults = sum(seen != happened for seen in got)
    tell(
        f"streams: {sum(connections)} connections over {len(happened)} events, {faults} violations,"
        f" KPID_LOAD_SEED={SEED}"
    )
    assert len(happened) > 2 * STREAM_RUNS
    assert sum(connections) > 2 * len(got), "nobody has come again"
    for seen in got:
        assert seen == happened


@pytest.mark.timeout(240)
def test_resume_works_across_a_crash(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with EventStream(slow_server, f"/runs/{run}/events?after=0") as stream:
        before = durable(stream.until("run.running"))
        slow_server.process.kill()
        slow_server.process.wait()
    slow_server.start()
    with EventStream(
        slow_server, f"/runs/{run}/events", last_id=stream.last_id
    ) as stream:
        after = durable(stream.rest())
    page = slow_server.get(f"/runs/{run}/events", Accept="application/json").json
    assert [event.json for event in before + after] == page["events"]
    assert names(after)[0] == "run.queued"


# --- many, slow and silent clients ---------------------------------------------------------------


@pytest.mark.timeout(240)
def test_many_watchers_cost_no_thread_and_little_memory(start_server):
    """Threads and memory of the process with 500 open streams, and all of them told of a run at once."""
    server = start_server()
    warm = [EventStream(server, "/events") for _ in range(8)]
    server.run(NEXT_DAY)
    for stream in warm:
        stream.close()
    time.sleep(2)
    threads, memory = status_of(server, "Threads"), status_of(server, "VmRSS")
    streams = [EventStream(server, "/events") for _ in range(500)]
    for stream in streams:
        stream.until("snapshot")
    started = time.monotonic()
    server.run(DAY)
    for stream in streams:
        stream.until("run.succeeded")
    spent = time.monotonic() - started
    assert status_of(server, "Threads") == threads
    grown = (status_of(server, "VmRSS") - memory) / 1024
    print(f"500 streams: +{grown:.1f} MiB, all told of a run's end after {spent:.3f} s")
    assert grown < (30 if SLOWDOWN == 1 else 300)
    assert server.get("/livez").status == 200
    for stream in streams:
        stream.close()


@pytest.mark.timeout(240)
def test_one_watcher_too_many_is_refused(start_server):
    server = start_server()
    streams = [EventStream(server, "/events") for _ in range(WATCHERS_MAX)]
    assert_problem(server.get("/events"), 429, "too-many-watchers")
    run = server.start_run(DAY)["id"]
    assert_problem(server.get("/events"), 429, "too-many-watchers")
    assert server.await_end(f"/runs/{run}")["state"] == "succeeded"  # polling needs no place
    streams[0].close()
    deadline = time.monotonic() + 20
    while True:
        with EventStream(server, "/events") as stream:
            if stream.status == 200:
                break
        assert time.monotonic() < deadline, stream.status
        time.sleep(0.2)
    for stream in streams:
        stream.close()


@pytest.mark.timeout(180)
def test_heartbeat_comes_when_nothing_happens(start_server):
    with EventStream(start_server(), "/events") as stream:
        started = time.monotonic()
        beats = stream.until("comment", HEARTBEAT_SECONDS + 10)
        assert names(beats) == ["snapshot", "comment"]
    assert HEARTBEAT_SECONDS - 1 < beats[-1].at - started < HEARTBEAT_SECONDS + 5


@pytest.mark.timeout(240)
def test_client_that_takes_nothing_is_given_up_and_a_silent_one_is_not(start_server):
    """Labels make the snapshot larger than what the kernel holds for a client that does not read."""
    server = start_server()
    labels = {f"{n:02}" + "k" * 60: "☃" * 255 for n in range(32)}
    run = server.run(NEXT_DAY, labels=labels)["id"]
    silent = EventStream(server, "/events")
    memory = status_of(server, "VmRSS")
    stuck = [
        EventStream(server, f"/runs/{run}/events?after=0", receive_bytes=4096)
        for _ in range(100)
    ]
    for _ in range(30):
        server.run(DAY)
    grown = (status_of(server, "VmRSS") - memory) / 1024
    print(f"100 clients that read nothing: +{grown:.1f} MiB")
    assert grown < (30 if SLOWDOWN == 1 else 300), grown
    time.sleep(TAKES_NOTHING_SECONDS + 4)
    for stream in stuck:
        with pytest.raises((AssertionError, OSError)):
            stream.rest(5)
        stream.close()
    run = server.run(DAY)["id"]
    seen = durable(list(silent.events(1)))
    assert seen[-1].json["run_id"] == run
    assert [int(event.id) for event in seen] == list(
        range(int(seen[0].id), int(seen[-1].id) + 1)
    )
    assert len(seen) == 3 * 31
    silent.close()


# --- end of the service --------------------------------------------------------------------------


def test_draining_says_goodbye_to_everyone(start_server, slow_input):
    server = start_server(slow_input, KPI_DRAIN_SECONDS="20")
    run = server.start_run(DAY)["id"]
    streams = [EventStream(server, "/events") for _ in range(20)]
    streams += [EventStream(server, f"/runs/{run}/events") for _ in range(20)]
    for stream in streams:
        stream.until("snapshot")
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    for stream in streams:
        assert names(stream.rest(20))[-1] == "server.draining"
    assert time.monotonic() - started < 1 + SLOWDOWN
    assert server.process.wait(60) == 0
    assert not [line for line in server.errors if "Sanitizer" in line]


def test_slow_reader_does_not_hold_up_the_end(start_server):
    server = start_server()
    labels = {f"{n:02}" + "k" * 60: "☃" * 255 for n in range(32)}
    run = server.run(DAY, labels=labels)["id"]
    streams = [
        EventStream(server, f"/runs/{run}/events", receive_bytes=4096)
        for _ in range(10)
    ]
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 10 + SLOWDOWN
    for stream in streams:
        stream.close()
