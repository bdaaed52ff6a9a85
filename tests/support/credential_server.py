"""A credential endpoint as ECS and EKS have it: hands out keys, and remembers who asked with which token."""

import contextlib
import datetime
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.s3_server import ACCESS_KEY, SECRET_KEY

PATH = "/v2/credentials/kpid"


def keys(minutes: float = 60, token: str = "", **changes: str) -> dict[str, str]:
    """Keys with a session token that expire in so many minutes."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    document = {
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": SECRET_KEY,
        "Token": token or "session-token-1",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    return {**document, **changes}


@dataclass
class Plan:
    """One answer."""

    document: object = field(default_factory=keys)
    status: int = 200
    delay: float = 0

    @property
    def body(self) -> bytes:
        is_raw = isinstance(self.document, bytes)
        return self.document if is_raw else json.dumps(self.document).encode()


class CredentialServer:
    """Answers by a list of plans; the last one is repeated."""

    def __init__(self):
        self.plans = [Plan()]
        self.asked: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a container; no other place is set."""
        return {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url,
        }

    def answer(self, *plans: Plan) -> None:
        self.plans = list(plans)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_plan(self, headers: dict[str, str]) -> Plan:
        self.asked.append(headers)
        return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]

    def _handler(self) -> type:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                plan = endpoint.next_plan(headers)
                time.sleep(plan.delay)
                with contextlib.suppress(ConnectionError):  # nobody waits any more
                    self.send_response(plan.status)
                    self.send_header("Content-Length", str(len(plan.body)))
                    self.end_headers()
                    self.wfile.write(plan.body)

            def log_message(self, *args):
                """Says nothing."""

        return Handler
