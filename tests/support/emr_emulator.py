"""EMR Serverless on loopback: checks every signature, honours client tokens, and runs real spark-submit for each job.

Faults are set on the emulator by the test. It has one application, and capacity for one job at a time.
"""

import contextlib
import hmac
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY
from support.spark import SMALL, spark_words
from support.spark_s3 import s3a_conf, s3a_env

SERVICE = "emr-serverless"
APPLICATION = "00fabcdef0123456"
TERMINAL = ("SUCCESS", "FAILED", "CANCELLED")
SUMMARY = ("applicationId", "name", "arn", "createdBy", "createdAt", "updatedAt", "executionRole", "state", "stateDetails")
SKEW_SECONDS = 300
TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


class Refused(Exception):
    """An error answer: status, type and message."""

    def __init__(self, status: int, kind: str, message: str):
        super().__init__(message)
        self.status, self.kind = status, kind


def check_signature(method: str, url: str, headers, body: bytes) -> None:
    """Raises Refused unless the request is signed as botocore would sign it."""
    found = AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if not found:
        raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    access_key, _, region, service, names, signature = found.groups()
    if access_key != ACCESS_KEY:
        raise Refused(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    stamp = headers.get("X-Amz-Date", "")
    if service != SERVICE or region != REGION:
        raise Refused(403, "InvalidSignatureException", f"Credential should be scoped to {REGION} and {SERVICE}.")
    with contextlib.suppress(ValueError):
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if abs(at.timestamp() - time.time()) > SKEW_SECONDS:
            raise Refused(403, "InvalidSignatureException", f"Signature expired: {stamp} is too far from now")
    request = AWSRequest(method, url, {name: headers.get(name, "") for name in names.split(";")}, body)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), SERVICE, REGION)
    del request.headers["X-Amz-Content-SHA256"]  # the body that came counts, not what is said of it
    if "x-amz-content-sha256" in names.split(";"):
        request.headers["X-Amz-Content-SHA256"] = signer.payload(AWSRequest(method, url, {}, body))
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if not hmac.compare_digest(wanted, signature):
        raise Refused(
            403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."
        )


class Job:
    """One job run."""

    def __init__(self, emulator: "EmrEmulator", request: dict):
        self.id = "00" + secrets.token_hex(7)
        self.emulator, self.request = emulator, request
        self.states = ["SUBMITTED"]
        self.details, self.is_cancelled = "", False
        self.process: subprocess.Popen | None = None
        self.created = self.updated = time.time()
        self.lock = threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()

    @property
    def state(self) -> str:
        return self.states[-1]

    def become(self, state: str, details: str = "") -> None:
        with self.lock:
            if self.state not in TERMINAL:
                self.states.append(state)
                self.details, self.updated = details[:256], time.time()

    def run(self) -> None:
        self.become("PENDING")
        if self.emulator.room.acquire(blocking=False):
            self.become("SCHEDULED")
        else:
            self.become("QUEUED")
            self.emulator.room.acquire()
            self.become("SCHEDULED")
        try:
            self.submit()
        finally:
            self.emulator.room.release()

    def submit(self) -> None:
        submit = self.request["jobDriver"]["sparkSubmit"]
        words, env = spark_words(conf=self.emulator.conf)
        words += shlex.split(submit.get("sparkSubmitParameters", ""))
        words += [submit["entryPoint"], *submit.get("entryPointArguments", [])]
        with self.lock:
            if not self.is_cancelled:
                with (self.emulator.folder / f"{self.id}.log").open("wb") as log:
                    self.process = subprocess.Popen(
                        ["setpriv", "--pdeathsig", "KILL", "--", *words],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        cwd=self.emulator.folder,
                        env={**env, **s3a_env()},
                        start_new_session=True,
                    )
        if self.process is None:
            self.become("CANCELLED")
            return
        self.become("RUNNING")
        code = self.process.wait()
        if self.is_cancelled:
            self.become("CANCELLED")
        elif code == 0:
            self.become("SUCCESS")
        else:
            self.become("FAILED", f"Job failed, please check complete logs in configured logging destination. ExitCode: {code}.")

    def cancel(self) -> None:
        with self.lock:
            self.is_cancelled = True
        self.become("CANCELLING")
        self.kill()

    def kill(self) -> None:
        """Ends all of its processes, as from outside."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def shown(self) -> dict:
        arn = f"arn:aws:emr-serverless:{REGION}:123456789012:/applications/{APPLICATION}"
        return {
            "applicationId": APPLICATION,
            "jobRunId": self.id,
            "name": self.request.get("name", ""),
            "arn": f"{arn}/jobruns/{self.id}",
            "createdBy": "arn:aws:iam::123456789012:user/kpid",
            "createdAt": self.created,
            "updatedAt": self.updated,
            "executionRole": self.request["executionRoleArn"],
            "state": self.state,
            "stateDetails": self.details,
            "releaseLabel": "emr-7.12.0",
            "jobDriver": self.request["jobDriver"],
            "attempt": 1,
        }


class EmrEmulator:
    """The service. `jobs` are by their ids; what is in the fault attributes happens to the next requests."""

    def __init__(self, folder: Path, s3_url: str):
        self.folder = folder
        self.conf = {**s3a_conf(s3_url), "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", **SMALL}
        self.jobs: dict[str, Job] = {}
        self.tokens: dict[str, Job] = {}
        self.room = threading.Semaphore(1)
        self.lock = threading.Lock()
        self.submissions = 0  # requests to start that were acted on or repeated
        self.lost_replies = 0  # to start: acted on, and nothing said
        self.refusals: list[Refused] = []  # one for each of the next requests
        self.refuses_callers = False  # as where a policy lacks the action
        self.is_away = False  # says nothing, and does nothing
        self.is_stopped = False  # the application, which does not start by itself
        emulator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                emulator.answer(self)

            do_GET = do_POST = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def start(self) -> "EmrEmulator":
        self.folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for job in self.jobs.values():
            job.cancel()

    def throttle(self, times: int = 1) -> None:
        self.refusals += [Refused(429, "ThrottlingException", "Rate exceeded")] * times

    def fail(self, times: int = 1) -> None:
        self.refusals += [Refused(500, "InternalServerException", "Internal server error")] * times

    def answer(self, http: BaseHTTPRequestHandler) -> None:
        body = http.rfile.read(int(http.headers.get("Content-Length") or 0))
        headers = {"Content-Type": "application/json", "x-amzn-RequestId": secrets.token_hex(16)}
        if self.is_away:
            http.close_connection = True
            return
        try:
            check_signature(http.command, f"http://{http.headers['Host']}{http.path}", http.headers, body)
            if self.refuses_callers:
                raise Refused(403, "AccessDeniedException", "User is not authorized to perform this action")
            with self.lock:
                if self.refusals:
                    raise self.refusals.pop(0)
            status, document = 200, self.act(http.command, http.path, body)
        except Refused as why:
            status, document = why.status, {"message": str(why)}
            headers["x-amzn-ErrorType"] = f"{why.kind}:http://internal.amazon.com/coral/com.amazonaws.emrserverless/"
        if document is None:  # the reply is lost
            http.close_connection = True
            return
        data = json.dumps(document).encode()
        http.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(data)

    def act(self, method: str, path: str, body: bytes) -> dict | None:
        found = re.fullmatch(r"/applications/([^/?]+)(/jobruns)?(?:/([^/?]+))?(?:\?.*)?", path)
        if not found or found[1] != APPLICATION:
            raise Refused(404, "ResourceNotFoundException", f"Application {found and found[1]} does not exist")
        _, jobs, job_id = found.groups()
        if not jobs:
            state = "STOPPED" if self.is_stopped else "STARTED"
            return {"application": {"applicationId": APPLICATION, "state": state, "type": "Spark", "releaseLabel": "emr-7.12.0"}}
        if method == "POST":
            return self.start_job(body)
        if job_id is None:
            return self.list_jobs(parse_qs(urlsplit(path).query))
        if job_id not in self.jobs:
            raise Refused(404, "ResourceNotFoundException", f"Job run {job_id} does not exist")
        job = self.jobs[job_id]
        if method == "GET":
            return {"jobRun": job.shown()}
        if job.state in TERMINAL:
            raise Refused(400, "ValidationException", f"Job run {job_id} is in a terminal state: {job.state}")
        job.cancel()
        return {"applicationId": APPLICATION, "jobRunId": job_id}

    def list_jobs(self, query: dict[str, list[str]]) -> dict:
        """A page of the jobs in the states asked for; its token is where the next one begins."""
        start, size = int(query.get("nextToken", ["0"])[0]), int(query.get("maxResults", ["50"])[0])
        shown = [job.shown() for job in self.jobs.values()]
        found = [job for job in shown if job["state"] in query.get("states", [job["state"]])]
        page = [
            {"id": job["jobRunId"], **{key: job[key] for key in SUMMARY}} for job in found[start : start + size]
        ]
        return {"jobRuns": page, **({"nextToken": str(start + size)} if start + size < len(found) else {})}

    def start_job(self, body: bytes) -> dict | None:
        request = read_request(body)
        with self.lock:
            if self.is_stopped:
                raise Refused(
                    400, "ValidationException", f"Application {APPLICATION} is not started, and auto-start is not enabled."
                )
            job = self.tokens.get(request["clientToken"])
            if job and job.request != request:
                raise Refused(409, "ConflictException", "The client token was already used with different parameters")
            self.submissions += 1
            if not job:
                job = Job(self, request)
                self.jobs[job.id] = self.tokens[request["clientToken"]] = job
            if self.lost_replies:
                self.lost_replies -= 1
                return None
        return {key: job.shown()[key] for key in ("applicationId", "jobRunId", "arn")}


def read_request(body: bytes) -> dict:
    """The document of a request to start a job, checked as far as the service checks it at once."""
    try:
        request = json.loads(body)
    except ValueError:
        raise Refused(400, "SerializationException", "the body is no JSON") from None
    if not TOKEN.fullmatch(request.get("clientToken", "")):
        raise Refused(400, "ValidationException", "clientToken must match [A-Za-z0-9._-]+ and have 1 to 64 characters")
    if not request.get("executionRoleArn", "").startswith("arn:aws:iam::"):
        raise Refused(400, "ValidationException", "executionRoleArn is not that of a role")
    if not request.get("jobDriver", {}).get("sparkSubmit", {}).get("entryPoint"):
        raise Refused(400, "ValidationException", "jobDriver.sparkSubmit.entryPoint is missing")
    return request
