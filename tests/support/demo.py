"""What the demonstrations have in common: the sample data, tables on the screen, and a main that cleans up."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from support.cli import kpid
from support.dynamodb_server import Item
from support.paths import TESTS, kpid_binary

DATE = "2025-03-15"
SAMPLE = ["--orders", 20000, "--days", 31, "--seed", 7, "--from", "2025-03-01"]


class DemoFailed(Exception):
    """What went wrong, for the user."""


def must(*args: object, env: dict[str, str] | None = None) -> None:
    """A command of the program that has to succeed."""
    print(f"\n$ kpid {' '.join(str(arg) for arg in args)}")
    result = kpid(*args, env=env)
    print(result.out, end="")
    if result.code != 0:
        raise DemoFailed(str(result))


def cell(value: object) -> str:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        whole, dot, fraction = text.partition(".")
        return whole + dot + fraction[:6] if dot else text
    return str(value)


def print_table(title: str, columns: list[str], items: list[Item], by: str = "boto3") -> None:
    """Items as lines of aligned columns."""
    lines = [columns, *([cell(item[name]) for name in columns] for item in items)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    print(f"\n{title}: {len(items)} item{'s' if len(items) != 1 else ''}, read by {by}")
    for line in lines:
        print("  " + "  ".join(map(str.ljust, line, widths)).rstrip())


def run_demo(name: str, demonstrate: Callable[[Path, contextlib.ExitStack], None]) -> int:
    """Runs a demonstration in a folder of its own; the exit code of the script of that name."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix=f"kpid-{name}.") as folder, contextlib.ExitStack() as cleanup:
        try:
            demonstrate(Path(folder), cleanup)
        except KeyboardInterrupt:
            return 130
        except Exception as problem:
            print(f"\n{name}: {problem}", file=sys.stderr)
            return 1
    print("\neverything is stopped and removed again")
    return 0


def shown_by(module: str, seconds: int) -> str:
    """What a demonstration prints that ends well."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "KPID_BIN": str(kpid_binary())}
    done = subprocess.run(
        [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
