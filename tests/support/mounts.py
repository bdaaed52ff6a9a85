"""A small file system of one's own, to fill it up or to make it read-only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


def mount(*args: str) -> bool:
    return (
        subprocess.run(["mount", *args], capture_output=True, check=False).returncode
        == 0
    )


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A tmpfs of `size` at `folder`; yields whether the right to mount is there."""
    folder.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def read_only_file(path: Path) -> Iterator[bool]:
    """Nobody may write to the file meanwhile; yields whether that could be had."""
    if os.geteuid() != 0:
        path.chmod(0o444)
        yield True
        path.chmod(0o644)
        return
    mounted = mount("--bind", str(path), str(path))
    try:
        yield mounted and mount("-o", "remount,bind,ro", str(path))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes the last byte of the disk; may be called again when some became free."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return path
