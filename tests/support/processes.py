"""Processes as /proc shows them, and waiting for what they do."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Returns once it is true; fails when that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def processes_of(word: str) -> list[int]:
    """The ids of the live processes that have an argument which ends with a word."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text()
        except OSError:  # it has just ended
            continue
        if any(one.endswith(word.encode()) for one in words) and ") Z" not in state:
            found.append(int(pid))
    return found
