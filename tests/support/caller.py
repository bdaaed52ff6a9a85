"""A client that knows of each request whether it was answered, and by its id what the server says of it."""

import contextlib
import itertools
import json
import random
import socket
import threading
from dataclasses import dataclass

from support.server import Server


@dataclass(frozen=True)
class Sent:
    """One request: the status of its answer, None when the connection ended before the first byte of one."""

    request_id: str
    status: int | None
    document: dict | None = None


class BrokenAnswer(Exception):
    """An answer began and did not end."""


class Caller(threading.Thread):
    """Posts runs and polls them over kept connections until nobody listens any more."""

    _numbers = itertools.count(1)

    def __init__(self, server: Server, dates: list[str], seed: int):
        super().__init__(daemon=True)
        self.port, self.dates, self.rng = server.port, dates, random.Random(seed)
        self.sent: list[Sent] = []
        self.faults: list[str] = []
        self._socket: socket.socket | None = None

    def run(self) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                try:
                    self.sent.append(self._ask())
                except (BrokenAnswer, TimeoutError) as fault:
                    self.faults.append(repr(fault))
                    self._close()

    @property
    def accepted(self) -> dict[str, str]:
        """The runs that were promised, and their dates."""
        posted = [sent.document for sent in self.sent if sent.status in (200, 202) and sent.document]
        return {run["id"]: run["date"] for run in posted}

    def _request(self) -> tuple[str, bytes]:
        request_id = f"call-{next(self._numbers)}"
        known = list(self.accepted)
        if known and self.rng.random() < 0.3:
            line, body = f"GET /runs/{known[-1]}?wait=20&until=change", b""
        else:
            line = "POST /runs"
            body = json.dumps({"date": self.rng.choice(self.dates)}).encode()
        head = (
            f"{line} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return request_id, head.encode() + body

    def _ask(self) -> Sent:
        if self._socket is None:
            self._connect()
        request_id, request = self._request()
        try:
            self._socket.sendall(request)
            status, body = self._answer()
        except (ConnectionResetError, BrokenPipeError, EOFError):
            self._close()
            return Sent(request_id, None)
        return Sent(request_id, status, json.loads(body) if status in (200, 202) else None)

    def _connect(self) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=40)
        except ConnectionResetError as reset:
            raise ConnectionRefusedError from reset

    def _answer(self) -> tuple[int, bytes]:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += self._receive(raw)
        head, body = raw.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        while len(body) < int(fields["content-length"]):
            body += self._receive(raw)
        if fields.get("connection") == "close":
            self._close()
        return int(lines[0].split()[1]), body

    def _receive(self, before: bytes) -> bytes:
        try:
            piece = self._socket.recv(65536)
        except ConnectionResetError as reset:
            piece, why = b"", reset
        else:
            why = EOFError("no answer")
        if not piece and before:
            raise BrokenAnswer(f"after {before!r}")
        if not piece:
            raise why
        return piece

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
