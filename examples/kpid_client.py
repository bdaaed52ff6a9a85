#!/usr/bin/env python3
"""A client of kpid in one file, for Python 3.9 and later, without dependencies: copy it beside your code.

    from kpid_client import Client, KpidError

    kpid = Client("http://kpid:8080", token="...")
    run = kpid.start_run("2026-11-22", idempotency_key="nightly-2026-11-22", on_finished="retry_failed")
    run = kpid.wait(run["id"])                       # raises KpidError when the run has not succeeded
    for row in kpid.results(run["id"], kpi="categories"):
        print(row["category"], row["daily_revenue"])

Or from a shell, with KPID_URL (http://localhost:8080) and KPID_TOKEN in the environment:

    python3 kpid_client.py run 2026-11-22            # prints the run; `--help` lists the other commands

Every request is repeated while there is no answer, or one that says "later" (429, 502, 503, 504), for `patience` seconds.
That is safe: a request that starts something carries an idempotency key, one of its own where the caller names none.
Numbers with a point are read as Decimal, so that money stays exact.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from decimal import Decimal
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence

JsonObject = Dict[str, Any]

LONGEST_WAIT = 50  # seconds of one long poll
LATER = (429, 502, 503, 504)
UNREACHABLE = "unreachable"


class KpidError(Exception):
    """What kpid says about a request that it refused, or about a run or backfill that has not succeeded.

    code       of the problem or of the run's error, as `validation-failed` or `csv_malformed`; `unreachable`: no answer
    detail     what is wrong, with the place
    retryable  whether the same may succeed later
    run_id     of the run that it is about
    hint       what to do about it, where kpid has one
    status     of the HTTP answer, where it is about a request
    errors     the fields that are wrong: `pointer` and `detail` of each
    repeated   whether the request was sent before and got no answer, so that it may have been carried out
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        run_id: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        errors: Sequence[JsonObject] = (),
        repeated: bool = False,
    ) -> None:
        places = "".join(f"; {e.get('pointer')}: {e.get('detail')}" for e in errors)
        super().__init__(f"{code}: {detail}{places}")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.run_id = run_id
        self.hint = hint
        self.status = status
        self.errors = list(errors)
        self.repeated = repeated


class _Answer(NamedTuple):
    document: JsonObject
    retry_after: Optional[float]


class _Later(Exception):
    """No answer now; `error` is what to raise when there is none in the end."""

    def __init__(self, error: KpidError, retry_after: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn a POST into a GET, and show the token to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """The requests of a kpid service, each a method that returns its JSON. May be shared by threads."""

    def __init__(self, url: str, token: str | None = None, *, patience: float = 600, timeout: float = 70) -> None:
        """`patience`: seconds to go on without an answer; `timeout`: of one request, longer than a long poll."""
        self._url = url.rstrip("/")
        self._token = token
        self._patience = patience
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def start_run(
        self,
        date: str | None = None,
        *,
        as_of: str | None = None,
        idempotency_key: str | None = None,
        wait: int = 0,
        **fields: Any,
    ) -> JsonObject:
        """Starts the run of `date` (YYYY-MM-DD, yesterday, today), or of the last day complete at the instant `as_of`.

        Returns the run, which may be one that was there: see its `disposition`. `fields` are those of POST /runs: publish,
        on_finished, labels, ... With `wait` the answer comes when the run ends, or after so many seconds.
        """
        body = {"date": date, "as_of": as_of, **fields}
        return self._submit("/runs", body, idempotency_key, wait)

    def get_run(self, run_id: str) -> JsonObject:
        """The run as it is now."""
        return self._request("GET", f"/runs/{_part(run_id)}").document

    def wait(self, run_id: str, *, timeout: float | None = None, check: bool = True) -> JsonObject:
        """Waits by long polls until the run has ended and returns it.

        Raises KpidError with the run's own error unless it has succeeded (`check=False`: returns it all the same), and
        TimeoutError after `timeout` seconds.
        """
        run = self._wait(f"/runs/{_part(run_id)}", timeout)
        if check and run["state"] != "succeeded":
            raise _error_of(run, run_id)
        return run

    def results(self, run_id: str, kpi: str = "orders", **parameters: Any) -> Iterator[JsonObject]:
        """The KPI rows of a run, page by page; `parameters` as sort="-daily_revenue" or diff="previous"."""
        return self._pages(f"/runs/{_part(run_id)}/results", "rows", {"kpi": kpi, **parameters})

    def cancel(self, run_id: str) -> JsonObject:
        """Stops a run; one that is running has stopped when `wait` returns."""
        return self._request("POST", f"/runs/{_part(run_id)}/cancel").document

    def retry(self, run_id: str, from_: str = "start") -> JsonObject:
        """Queues a failed or cancelled run again; from_="publish" sends only what it has computed."""
        try:
            return self._request("POST", f"/runs/{_part(run_id)}/retry", {"from": from_}).document
        except KpidError as error:
            if error.status == 409 and error.repeated:  # the first request did arrive
                return self.get_run(run_id)
            raise

    def days(self, from_: str | None = None, to: str | None = None) -> Iterator[JsonObject]:
        """The calendar: for each day its newest run and what is published. Without dates, the last 30 days."""
        return self._pages("/days", "days", {"from": from_, "to": to})

    def backfill(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        *,
        idempotency_key: str | None = None,
        wait: int = 0,
        **fields: Any,
    ) -> JsonObject:
        """Computes many days in one pass: from `start_date` to `end_date`, `dates=[...]`, or `all=True`.

        `fields` are those of POST /backfills: reprocess, order, publish, ...; with `dry_run=True` it returns the plan.
        """
        body = {"start_date": start_date, "end_date": end_date, **fields}
        return self._submit("/backfills", body, idempotency_key, wait)

    def wait_backfill(self, backfill_id: str, *, timeout: float | None = None, check: bool = True) -> JsonObject:
        """Waits until every day of a backfill has ended, as `wait` does for a run."""
        backfill = self._wait(f"/backfills/{_part(backfill_id)}", timeout)
        if not check or backfill["state"] == "succeeded":
            return backfill
        bad = [day for day in self.backfill_days(backfill_id) if day["state"] in ("failed", "cancelled")]
        if not bad:
            raise _error_of(backfill, None)
        names = ", ".join(f"{day['date']} {day['error_code'] or day['state']}" for day in bad[:10])
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise KpidError(
            "run-not-succeeded",
            f"{len(bad)} of {backfill['counts']['total']} days have not succeeded: {names}{more}",
            run_id=bad[0]["run_id"],
        )

    def backfill_days(self, backfill_id: str) -> Iterator[JsonObject]:
        """The days of a backfill: what was to become of each, and the state of its run."""
        return self._pages(f"/backfills/{_part(backfill_id)}", "days", {})

    def _submit(self, path: str, body: JsonObject, key: str | None, wait: int) -> JsonObject:
        sent = {name: value for name, value in body.items() if value is not None}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._request("POST", path, sent, {"wait": wait or None}, headers).document

    def _wait(self, path: str, timeout: float | None) -> JsonObject:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            began = time.monotonic()
            left = LONGEST_WAIT if deadline is None else max(0, min(LONGEST_WAIT, round(deadline - began)))
            answer = self._request("GET", path, query={"wait": left})
            if answer.document["terminal"]:
                return answer.document
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise TimeoutError(f"{path} is still {answer.document['state']} after {timeout} seconds")
            if now - began < left:  # answered early, as by a service that is about to stop
                time.sleep(answer.retry_after or 1)

    def _pages(self, path: str, member: str, query: JsonObject) -> Iterator[JsonObject]:
        cursor = None
        while True:
            page = self._request("GET", path, query={"limit": 200, **query, "cursor": cursor}).document
            yield from page[member]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _request(
        self,
        method: str,
        path: str,
        body: JsonObject | None = None,
        query: JsonObject | None = None,
        headers: dict[str, str] | None = None,
    ) -> _Answer:
        """One request, repeated while kpid cannot answer it."""
        request = urllib.request.Request(self._url + path + _query(query), method=method, headers=headers or {})
        request.add_header("Accept", "application/json, application/problem+json")
        request.add_header("User-Agent", "kpid_client.py")
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        elif method == "POST":
            request.data = b""
        give_up = time.monotonic() + self._patience
        pause, repeated = 1.0, False
        while True:
            try:
                return self._once(request, repeated)
            except _Later as later:
                delay = later.retry_after or pause
                if time.monotonic() + delay > give_up:
                    raise later.error from None
                time.sleep(delay)
                pause, repeated = min(30.0, pause * 2), True

    def _once(self, request: urllib.request.Request, repeated: bool) -> _Answer:
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                document = json.loads(reply.read(), parse_float=Decimal)
                if not isinstance(document, dict):
                    raise ValueError
                return _Answer(document, _retry_after(reply.headers))
        except urllib.error.HTTPError as answer:
            with answer:
                error = _problem(answer, repeated)
            if answer.code in LATER:
                raise _Later(error, _retry_after(answer.headers)) from None
            raise error from None
        except (OSError, http.client.HTTPException) as broken:
            reason = getattr(broken, "reason", broken)
            error = KpidError(UNREACHABLE, f"{self._url}: {reason or type(reason).__name__}", retryable=True)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise error from None
            raise _Later(error, None) from None
        except ValueError:
            raise KpidError("unexpected-answer", f"{self._url}: what answers is not kpid", repeated=repeated) from None


def _error_of(ended: JsonObject, run_id: str | None) -> KpidError:
    """Why a run or backfill has not succeeded, as it says itself."""
    error = ended["error"]
    if error is None or ended["state"] != "failed":
        what = "backfill" if run_id is None else "run"
        return KpidError("run-not-succeeded", f"the {what} is {ended['state']}", run_id=run_id)
    return KpidError(
        error["code"], error["message"], retryable=error["retryable"], run_id=run_id, hint=error["hint"]
    )


def _problem(answer: urllib.error.HTTPError, repeated: bool) -> KpidError:
    """The error that a refused request stands for; what answers may be a load balancer that knows no JSON."""
    try:
        document = json.loads(answer.read())
        return KpidError(
            document["code"],
            document["detail"],
            retryable=document["retryable"],
            run_id=document.get("run_id"),
            status=answer.code,
            errors=document.get("errors", []),
            repeated=repeated,
        )
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return KpidError(
            "unexpected-answer",
            f"{answer.url} answered with status {answer.code} and no problem document",
            retryable=answer.code in LATER,
            status=answer.code,
            repeated=repeated,
        )


def _retry_after(headers: Any) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() and len(value) < 7 else None


def _part(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _query(parameters: JsonObject | None) -> str:
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    return "?" + urllib.parse.urlencode(given, doseq=True) if given else ""


def _commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Asks kpid. KPID_URL (http://localhost:8080) says where it is, KPID_TOKEN is a key of it.",
        epilog="Exit: 0 well; 1 refused, or the run has not succeeded; 2 wrong usage; 75 no answer, or not yet.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, help_: str, *arguments: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_)
        for argument in arguments:
            added.add_argument(argument.strip("?"), nargs="?" if argument.endswith("?") else None)
        return added

    for name, help_, arguments in (
        ("run", "compute a date (yesterday) and wait for it", ["date?"]),
        ("backfill", "compute the days of a range and wait for them", ["start", "end"]),
    ):
        starts = command(name, help_, *arguments)
        starts.add_argument("--key", help="idempotency key: one run however often it is sent, tried again if it has failed")
        starts.add_argument("--no-wait", action="store_true", help="do not wait for the end")
        starts.add_argument("--timeout", type=float, help="seconds to wait at most")
    command("show", "a run as it is", "id")
    command("results", "the KPI rows of a run, one JSON object a line", "id").add_argument("--kpi", default="orders")
    command("days", "the calendar, one JSON object a line", "first?", "last?")
    command("cancel", "stop a run", "id")
    command("retry", "try a failed run again, and wait for it", "id").add_argument(
        "--publish-only", action="store_true", help="only publish what it has computed"
    )
    return parser


def _carry_out(kpid: Client, args: argparse.Namespace) -> Iterator[JsonObject]:
    """What a command prints, document by document."""
    if args.command == "run":
        date = args.date or "yesterday"
        run = kpid.start_run(date, idempotency_key=args.key)
        if run["disposition"] == "replayed" and run["state"] in ("failed", "cancelled"):
            run = kpid.start_run(date, idempotency_key=args.key, on_finished="retry_failed")
        yield run if args.no_wait else kpid.wait(run["id"], timeout=args.timeout)
    elif args.command == "backfill":
        backfill = kpid.backfill(args.start, args.end, idempotency_key=args.key)
        yield backfill if args.no_wait else kpid.wait_backfill(backfill["id"], timeout=args.timeout)
    elif args.command == "show":
        yield kpid.get_run(args.id)
    elif args.command == "results":
        yield from kpid.results(args.id, args.kpi)
    elif args.command == "days":
        yield from kpid.days(args.first, args.last)
    elif args.command == "cancel":
        kpid.cancel(args.id)
        yield kpid.wait(args.id, check=False)
    else:
        yield kpid.wait(kpid.retry(args.id, "publish" if args.publish_only else "start")["id"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = _commands().parse_args(arguments)
    kpid = Client(
        os.environ.get("KPID_URL") or "http://localhost:8080",
        os.environ.get("KPID_TOKEN"),
        patience=float(os.environ.get("KPID_RETRY_SECONDS") or 600),
    )
    try:
        for document in _carry_out(kpid, args):
            print(json.dumps(document, default=float, ensure_ascii=False), flush=True)
    except KpidError as error:
        print(f"kpid: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 75 if error.code == UNREACHABLE or error.status in LATER else 1
    except TimeoutError as error:
        print(f"kpid: {error}", file=sys.stderr)
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
