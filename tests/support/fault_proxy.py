"""A reverse proxy that records every request and spoils the answers that rules name.

It passes the Host header on unchanged, so that a signature made for the proxy stays valid. It reads a request and its
answer whole, so objects should be small.
"""

import asyncio
import re
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.faults import Answer, Connection, Exchange, Fault, Pass

MAX_HEAD = 1 << 20
MAX_RULE_TIMES = 1 << 60
MAX_WAITING = 32

Headers = list[tuple[str, str]]


@dataclass
class Request:
    """One request as it arrived, and what became of it."""

    number: int
    at: float
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    fault: str = ""
    status: int | None = None

    @property
    def path(self) -> str:
        return urllib.parse.urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(
            urllib.parse.parse_qsl(
                urllib.parse.urlsplit(self.target).query, keep_blank_values=True
            )
        )

    @property
    def operation(self) -> str:
        """The AWS operation: of the target header, of a form's Action, else of S3."""
        if target := self.headers.get("x-amz-target"):
            return target.rsplit(".", 1)[1]
        if action := re.search(rb"(?:^|&)Action=(\w+)", self.body):
            return action.group(1).decode()
        if self.method == "GET":
            return "ListObjectsV2" if "list-type" in self.query else "GetObject"
        return f"{self.method.title()}Object"

    def __str__(self) -> str:
        spoiled = f" [{self.fault}]" if self.fault else ""
        return f"{self.operation} {self.target}{spoiled} -> {self.status}"


@dataclass
class Rule:
    """Spoils the requests that match: after `skip` of them, at most `times`."""

    fault: Fault
    operation: str = ""
    path: str = ""
    query: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    skip: int = 0
    times: int = MAX_RULE_TIMES
    hits: int = 0

    def matches(self, request: Request) -> bool:
        return bool(
            re.fullmatch(self.operation or ".*", request.operation)
            and re.search(self.path, urllib.parse.unquote(request.path))
            and re.search(self.query, urllib.parse.urlsplit(request.target).query)
            and re.search(self.body, request.body.decode("utf-8", "replace"))
            and all(
                re.search(pattern, request.headers.get(name, ""))
                for name, pattern in self.headers.items()
            )
        )

    def take(self, request: Request) -> bool:
        """Whether this rule spoils the request; counts it."""
        if not self.matches(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.hits >= self.times:
            return False
        self.hits += 1
        return True


class FaultProxy:
    """A proxy before one upstream server, in a thread of its own."""

    def __init__(self, upstream_port: int):
        self.upstream_port = upstream_port
        self.port = 0
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_event: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "FaultProxy":
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fault proxy did not start")
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop_event.set)
        self._thread.join(10)

    def spoil(self, fault: Fault, operation: str = "", **match) -> Rule:
        """Adds a rule; the first rule that takes a request wins."""
        rule = Rule(fault, operation, **match)
        with self._lock:
            self.rules.append(rule)
        return rule

    def heal(self) -> None:
        """No more faults; the record stays."""
        with self._lock:
            self.rules = []

    def clear(self) -> None:
        """No more faults and an empty record."""
        with self._lock:
            self.rules, self.requests = [], []

    def seen(self, *operations: str) -> list[Request]:
        """The requests of these operations (or all), oldest first."""
        with self._lock:
            return [
                request
                for request in self.requests
                if not operations or request.operation in operations
            ]

    def operations(self) -> set[str]:
        return {request.operation for request in self.seen()}

    def wait_for(
        self, operation: str, count: int = 1, timeout: float = 30
    ) -> list[Request]:
        """The requests of an operation once there are `count`."""
        deadline = time.monotonic() + timeout
        while len(found := self.seen(operation)) < count:
            assert time.monotonic() < deadline, f"only {len(found)} {operation}"
            time.sleep(0.01)
        return found

    # The rest runs in the proxy's own thread.

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(MAX_WAITING))
        self._stop_event = asyncio.Event()
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=MAX_HEAD
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop_event.wait()
        server.close()

    async def _serve(self, reader, writer) -> None:
        connection = Connection(reader, writer)
        try:
            while not connection.closed:
                request = await self._read_request(reader, connection)
                await self._answer(request, connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _read_request(self, reader, connection: Connection) -> Request:
        first, pairs = await read_head(reader)
        headers = {name.lower(): value for name, value in pairs}
        if headers.get("expect") == "100-continue":  # who says so waits for a while before the body
            await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        with self._lock:
            request = Request(
                len(self.requests), time.time(), method, target, headers, body
            )
            self.requests.append(request)
        return request

    async def _answer(self, request: Request, connection: Connection) -> None:
        fault = self._fault_of(request)
        request.fault = "" if isinstance(fault, Pass) else str(fault)
        exchange = Exchange(
            request.method, request.target, dict(request.headers), request.body, self._forward
        )
        answer = await fault.answer(exchange)
        request.status = answer.status if answer else None
        await fault.deliver(answer, connection, request.method)

    def _fault_of(self, request: Request) -> Fault:
        with self._lock:
            return next(
                (rule.fault for rule in self.rules if rule.take(request)), Pass()
            )

    async def _forward(self, exchange: Exchange) -> Answer:
        """The upstream's answer to the exchange as it is now."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.upstream_port, limit=MAX_HEAD
        )
        try:
            drop = ("connection", "content-length", "expect")
            lines = [f"{exchange.method} {exchange.target} HTTP/1.1"]
            lines += [
                f"{name}: {value}"
                for name, value in exchange.headers.items()
                if name not in drop
            ]
            if exchange.body or "content-length" in exchange.headers:
                lines.append(f"content-length: {len(exchange.body)}")
            lines += ["connection: close", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1") + exchange.body)
            await writer.drain()
            return await read_answer(reader, exchange.method)
        finally:
            writer.close()


async def read_head(reader) -> tuple[str, Headers]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return first, [(name.strip(), value.strip()) for name, value in pairs]


async def read_answer(reader, method: str) -> Answer:
    first, pairs = await read_head(reader)
    headers = {name.lower(): value for name, value in pairs}
    status = int(first.split(" ")[1])
    if method == "HEAD" or status in (204, 304):
        return Answer(status, pairs, b"")
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await read_chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    framing = ("transfer-encoding", "content-length", "connection")
    kept = [(name, value) for name, value in pairs if name.lower() not in framing]
    return Answer(status, [*kept, ("Content-Length", str(len(body)))], body)


async def read_chunks(reader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body

