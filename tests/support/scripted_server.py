"""An HTTP server that answers what a test has written down, and keeps what it was asked."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Scripted:
    """One answer: a JSON document, or bytes as they are; of status None: the connection is closed without one."""

    status: int | None
    document: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Answers on a loopback port in the order of `answers`; the last one for ever. Used with `with`."""

    def __init__(self, *answers: Scripted):
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                owner._answer(self)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {k.lower(): v for k, v in handler.headers.items()}
        with self._lock:
            self.asked.append(Asked(handler.command, handler.path, headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        handler.close_connection = True
        if answer.status is None:
            return
        data = answer.document
        if not isinstance(data, bytes):
            data = json.dumps(data, separators=(",", ":")).encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def __enter__(self) -> "ScriptedServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
