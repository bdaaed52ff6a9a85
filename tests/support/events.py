"""A client of server-sent events, as the WHATWG describes it, over a plain socket."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.server import END_SECONDS, Server


@dataclass
class Event:
    """One event as a client acts on it; `comment` events are the comments between."""

    name: str
    id: str | None
    data: str
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self):
        return json.loads(self.data)


class EventStream:
    """An open stream. Reads only when asked, so that a test may be as slow as it likes."""

    def __init__(
        self,
        server: Server,
        path: str,
        last_id: str | None = None,
        version: str = "1.1",
        method: str = "GET",
        receive_bytes: int | None = None,
        **headers: str,
    ):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes
            )
        self.socket.connect(("127.0.0.1", server.port))
        fields = {"Host": "x", "Accept": "text/event-stream", **headers}
        if last_id is not None:
            fields["Last-Event-ID"] = last_id
        head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in fields.items())
        self.socket.sendall(f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode())
        self._raw = b""
        self._text = b""
        self._chunked = False
        self.ended = False
        self.last_id = last_id
        self.retry_ms: int | None = None
        self._read_head()

    def _read_head(self) -> None:
        while b"\r\n\r\n" not in self._raw:
            piece = self.socket.recv(4096)
            assert piece, f"no head: {self._raw!r}"
            self._raw += piece
        head, self._raw = self._raw.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, value in (line.split(":", 1) for line in lines)
        }
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        self._take_body()

    def _take_body(self) -> None:
        if self._chunked:
            self._take_chunks()
        else:
            self._text, self._raw = self._text + self._raw, b""

    def _take_chunks(self) -> None:
        while not self.ended:
            size, found, rest = self._raw.partition(b"\r\n")
            if not found or len(rest) < int(size, 16) + 2:
                return
            length = int(size, 16)
            self._text += rest[:length]
            assert rest[length : length + 2] == b"\r\n"
            self._raw = rest[length + 2 :]
            self.ended = length == 0

    def receive(self, deadline: float) -> bool:
        """Reads some more; False at the end or the deadline."""
        if self.ended:
            return False
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            piece = self.socket.recv(65536)
        except TimeoutError:
            return False
        if not piece:
            assert not self._chunked, "the connection broke off"
            self.ended = True
            return False
        self._raw += piece
        self._take_body()
        return True

    def _parse(self, block: str) -> Event | None:
        event = Event("message", None, "")
        data: list[str] = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not name:
                return Event("comment", None, value)
            if name == "event":
                event.name = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                assert "\0" not in value
                event.id = self.last_id = value
            elif name == "retry":
                self.retry_ms = int(value)
            else:
                raise AssertionError(f"unknown field {line!r}")
        event.data = "\n".join(data)
        return event if data else None

    def events(self, seconds: float = END_SECONDS) -> Iterator[Event]:
        """Events, comments too, until the stream ends or nothing has come by then."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n\n" in self._text:
                block, self._text = self._text.split(b"\n\n", 1)
                event = self._parse(block.decode())
                if event:
                    yield event
            if not self.receive(deadline):
                return

    def until(self, name: str, seconds: float = END_SECONDS) -> list[Event]:
        """All events to the first of that name."""
        seen = []
        for event in self.events(seconds):
            seen.append(event)
            if event.name == name:
                return seen
        raise AssertionError(f"no {name} after {[event.name for event in seen]}")

    def rest(self, seconds: float = END_SECONDS) -> list[Event]:
        """All events to the end of the stream, which must come."""
        seen = list(self.events(seconds))
        assert self.ended, f"still open after {[event.name for event in seen][-5:]}"
        return seen

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def durable(events: list[Event]) -> list[Event]:
    """Those with a number of their own."""
    return [
        event
        for event in events
        if event.name.startswith("run.") and event.name != "run.progress"
    ]
