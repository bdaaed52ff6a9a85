"""What hadolint says of the Dockerfile. Versions of packages are those of the base image's release (DL3008)."""

import json
import subprocess

from support.paths import REPO
from support.tools import template_checker


def hadolint(text: str) -> list[str]:
    """The rules that it finds broken, of the level of a warning at least."""
    command = [template_checker("hadolint"), "--format", "json", "--ignore", "DL3008", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert not done.stderr, done
    return [found["code"] for found in json.loads(done.stdout) if found["level"] in ("warning", "error")]


def test_hadolint_finds_nothing():
    assert hadolint((REPO / "Dockerfile").read_text(encoding="utf-8")) == []


def test_hadolint_would_find_something():
    found = hadolint("FROM debian:latest\nRUN cd /src && sudo make\nUSER root\n")
    assert set(found) == {"DL3002", "DL3003", "DL3004", "DL3007"}
