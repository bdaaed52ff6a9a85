"""Runs what stands in examples/ as its reader would, unchanged."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cfnlint.api

from support.paths import REPO, clean_env

EXAMPLES = REPO / "examples"


@dataclass(frozen=True)
class Outcome:
    """What one program has left."""

    code: int
    out: str
    err: str


class Started:
    """A program at work, of which nothing is left at the end of a `with`."""

    def __init__(self, command: list[str | Path], env: dict[str, str]):
        inherited = {k: v for k, v in clean_env().items() if not k.startswith("KPID_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, **env},
        )

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self, timeout: float = 60) -> Outcome:
        out, err = self.process.communicate(timeout=timeout)
        return Outcome(self.process.returncode, out, err)


def run_example(*command: str | Path, **env: str) -> Outcome:
    """Runs a program to its end; of the caller's environment it sees no KPI_*, KPID_* and AWS_*."""
    with Started(list(command), env) as started:
        return started.end()


def findings(checker: str, *arguments: str | Path) -> str:
    """What a checker that is installed beside this Python says; nothing if all is well."""
    found = subprocess.run([Path(sys.executable).parent / checker, *arguments], capture_output=True, text=True)
    said = (found.stdout + found.stderr).strip()
    assert (found.returncode == 0) == (not said), found
    return said


def template_findings(template: str) -> list[str]:
    """What cfn-lint says of a CloudFormation template, in this process, where it reads its rules once."""
    return [f"{found.rule.id}: {found.message}" for found in cfnlint.api.lint(template)]
