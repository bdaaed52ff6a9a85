"""toxiproxy before a server of this machine, which makes it as far away, or as narrow, as one of AWS."""

import json
import urllib.request
from pathlib import Path

from support.tools import ToolServer, free_port


class Toxiproxy(ToolServer):
    """A proxy, with one of its toxics in the way of every answer."""

    name = "toxiproxy"

    def __init__(self, folder: Path, program: str):
        super().__init__(folder)
        self.program = program

    def command(self) -> list[str]:
        return [self.program, "-host", "127.0.0.1", "-port", str(self.port)]

    def before(self, upstream_port: int, toxic: str, **attributes: int) -> str:
        """The address at which the upstream answers through it: latency=ms, or bandwidth with rate=kB/s of a connection."""
        port = free_port()
        self._post(
            "/proxies",
            {"name": "slow", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream_port}", "enabled": True},
        )
        self._post("/proxies/slow/toxics", {"type": toxic, "stream": "downstream", "attributes": attributes})
        return f"http://127.0.0.1:{port}"

    def _post(self, path: str, document: dict) -> None:
        request = urllib.request.Request(self.url + path, json.dumps(document).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass
