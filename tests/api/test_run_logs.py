"""GET /runs/{id}/logs: a failed run is explained after its container is gone."""

import json
import re

from support.datasets import BASE_DATES, copy_base, write_lines
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


def log_of(server, run: str, query: str = "") -> list[dict]:
    reply = server.get(f"/runs/{run}/logs{query}")
    assert (reply.status, reply.media_type) == (200, "application/x-ndjson"), reply
    return [json.loads(line) for line in reply.text.splitlines()]


def events_of(lines: list[dict]) -> list[str]:
    return [line["event"] for line in lines]


def line_of(lines: list[dict], event: str) -> dict:
    return next(line for line in lines if line["event"] == event)


def test_log_of_a_good_run_tells_what_it_did(server):
    run = server.run(DAY)
    lines = log_of(server, run["id"])
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["run_id"] for line in lines} == {run["id"]}
    assert {line["date"] for line in lines} == {DAY}
    listed = line_of(lines, "run.listed")
    assert (listed["objects"], listed["bytes"]) == (
        run["input"]["objects"],
        run["input"]["bytes"],
    )
    assert listed["fingerprint"] == run["input"]["fingerprint"]
    phases = [line["phase"] for line in lines if line["event"] == "run.phase"]
    assert phases[:2] == ["listing", "scanning"]
    assert "publishing" in phases
    assert all(
        line["duration_ms"] >= 0 for line in lines if line["event"] == "run.phase"
    )
    computed = line_of(lines, "run.computed")
    assert computed["quality"] == run["quality"]["status"]
    assert computed["checks_passed"] == run["quality"]["passed"]
    published = [
        {key: line[key] for key in ("put", "unchanged", "deleted")}
        | {"name": line["table"]}
        for line in lines
        if line["event"] == "run.published"
    ]
    assert published == run["output"]["tables"]
    assert {"run.accepted", "run.started"} <= set(events_of(lines))
    assert (lines[-1]["event"], lines[-1]["state"]) == ("run.finished", "succeeded")


def test_log_is_what_stood_on_stdout(server):
    run = server.run(DAY)["id"]
    lines = log_of(server, run)
    shown = [line for line in server.logs if line.get("run_id") == run]
    key = lambda line: json.dumps(line, sort_keys=True)  # noqa: E731
    kept = [{k: v for k, v in line.items() if k != "seq"} for line in lines]
    assert sorted(kept, key=key) == sorted(shown, key=key)
    assert line_of(lines, "run.accepted")["request_id"]


def test_failed_run_is_explained_by_a_later_process(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["7,1,completed,not a date"], "z.csv")
    server = start_server(source, KPI_BAD_ROWS="fail")
    run = server.run(DAY)
    assert run["state"] == "failed"
    assert server.terminate() == 0
    server.start()
    lines = log_of(server, run["id"])
    error = line_of(lines, "run.error")
    assert error["level"] == "error"
    assert error["code"] == run["error"]["code"]
    assert error["msg"] == run["error"]["message"]
    assert error["hint"] == run["error"]["hint"]
    assert error["phase"] == run["error"]["phase"]
    details = run["error"]["details"]
    assert {name: error[name] for name in details} == details
    assert (error["line"], error["column"]) == (2, "created_at")
    assert lines[-1]["event"] == "run.finished"
    assert (lines[-1]["state"], lines[-1]["code"]) == ("failed", error["code"])


def test_skipped_rows_and_a_blocked_gate_are_told(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["7,1,completed,not a date"] * 3, "z.csv")
    server = start_server(source)
    run = server.run(DAY, bad_rows="skip", max_bad_rows="50%")
    assert line_of(log_of(server, run["id"]), "run.computed")["bad_rows"] == 3
    blocked = server.run(
        DAY, bad_rows="skip", max_bad_rows="50%", quality_gate="block"
    )
    if blocked["state"] == "failed":
        lines = log_of(server, blocked["id"])
        assert line_of(lines, "run.error")["code"] == "quality_blocked"
        assert line_of(lines, "run.computed")["failed_check"]


def test_requests_to_stop_and_to_retry_stand_in_the_log(slow_server):
    run = slow_server.start_run(DAY)["id"]
    reply = slow_server.request(
        "POST", f"/runs/{run}/cancel", headers={"X-Request-Id": "stop-it"}
    )
    assert reply.status in (200, 202), reply
    slow_server.finish(run)
    reply = slow_server.request(
        "POST", f"/runs/{run}/retry", headers={"X-Request-Id": "go-on"}
    )
    assert reply.status == 202, reply
    assert slow_server.finish(run)["state"] == "succeeded"
    lines = log_of(slow_server, run)
    assert line_of(lines, "run.cancel_requested")["request_id"] == "stop-it"
    assert line_of(lines, "run.retry_requested")["request_id"] == "go-on"
    states = [line["state"] for line in lines if line["event"] == "run.finished"]
    assert states[-1] == "succeeded"
    second = max(line["attempt"] for line in lines)
    assert {line["attempt"] for line in log_of(slow_server, run, f"?attempt={second}")} == {
        second
    }


def test_lines_are_filtered_and_paged(server):
    run = server.run(DAY)["id"]
    lines = log_of(server, run)
    seen, after = [], 0
    while True:
        reply = server.get(f"/runs/{run}/logs?limit=3&after={after}")
        page = [json.loads(line) for line in reply.text.splitlines()]
        seen += page
        link = reply.headers.get("link")
        assert (len(seen) < len(lines)) is bool(link)
        if not link:
            break
        target = re.fullmatch(r'<(.*)>; rel="next"', link)[1]
        after = page[-1]["seq"]
        assert f"after={after}" in target
        assert server.get(target).status == 200
    assert seen == lines
    assert log_of(server, run, "?level=error") == []
    assert all(line["level"] == "warn" for line in log_of(server, run, "?level=warn"))
    assert log_of(server, run, "?attempt=9") == []
    assert {line["attempt"] for line in log_of(server, run, "?attempt=1")} == {1}


def test_text_is_for_people(server):
    run = server.run(DAY)["id"]
    reply = server.get(f"/runs/{run}/logs", Accept="text/plain")
    assert reply.media_type == "text/plain"
    assert len(reply.text.splitlines()) == len(log_of(server, run))
    assert re.search(
        r"^\S+Z info  run\.listed: inputs listed .*objects=3 ", reply.text, re.M
    )
    assert run not in reply.text


def test_wrong_requests_are_refused(server):
    run = server.run(DAY)["id"]
    assert_problem(server.get(f"/runs/{UNKNOWN_ID}/logs"), 404, "run-not-found")
    reply = server.get(f"/runs/{run}/logs", Accept="application/json")
    assert_problem(reply, 406, "not-acceptable")
    for query in ("level=loud", "after=-1", "limit=0", "limit=1001", "attempt=x"):
        assert_problem(
            server.get(f"/runs/{run}/logs?{query}"), 400, "malformed-query"
        )
    assert server.request("HEAD", f"/runs/{run}/logs").status == 200


def test_keys_and_tokens_never_appear(start_server):
    secrets = {
        "AWS_ACCESS_KEY_ID": "AKIATHISISNOTLOGGED1",
        "AWS_SECRET_ACCESS_KEY": "this-secret-is-never-logged",
        "AWS_SESSION_TOKEN": "this-token-is-never-logged",
    }
    server = start_server(
        "s3://bucket/prefix",
        KPI_LOG_LEVEL="debug",
        AWS_REGION="eu-west-1",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        **secrets,
    )
    run = server.run(DAY)
    assert run["state"] in ("failed", "retry_wait")
    text = server.get(f"/runs/{run['id']}/logs").text + json.dumps(server.logs)
    assert "run.error" in text
    for secret in secrets.values():
        assert secret not in text


def test_every_run_of_many_has_its_own_log(start_server):
    server = start_server(KPI_MAX_ACTIVE_RUNS="4")
    runs = [server.start_run(f"2021-02-{n % 28 + 1:02}", publish=False)["id"] for n in range(56)]
    for run in runs:
        server.finish(run)
    for run in runs:
        lines = log_of(server, run)
        assert lines[-1]["event"] == "run.finished"
        assert {line["run_id"] for line in lines} == {run}

