"""What linters say of the templates and policies of deploy/, and copies of a template with something wrong in it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cfnlint.api

from support.paths import REPO
from support.tools import template_checker

TEMPLATES = (
    REPO / "deploy" / "stack.yaml",
    REPO / "deploy" / "spark-emr-serverless.yaml",
    REPO / "examples" / "eventbridge.json",
)


def broken(folder: Path, old: str, new: str, name: str = "deploy/stack.yaml") -> Path:
    """A copy of the templates, beside each other as they are here, in one of which `old` has become `new`."""
    for path in TEMPLATES:
        copy = folder / path.relative_to(REPO)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text, old
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder / name


def lint(path: Path) -> list[str]:
    """cfn-lint, in this process, where it reads its rules once; also of what the template hands to nested ones."""
    return [f"{found.rule.id}: {found.message}" for found in cfnlint.api.lint_file(path)]


def checkov(*paths: Path) -> tuple[list[str], list[str]]:
    """What checkov has found, and what it has left alone as the templates say; it asks nobody on the network."""
    files = [word for path in paths for word in ("--file", str(path))]
    done = subprocess.run(
        [template_checker("checkov"), *files, "--skip-download", "--framework", "cloudformation", "--output", "json"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 0 and report["summary"]["parsing_errors"] == 0, done.stderr
    failed, skipped = (
        [f"{found['check_id']} {found['resource']}" for found in report["results"][kind]]
        for kind in ("failed_checks", "skipped_checks")
    )
    assert (done.returncode == 0) == (not failed), done.stderr
    return failed, skipped


def parliament(statements: list[dict[str, Any]]) -> list[str]:
    """What parliament says of a policy of these statements."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    done = subprocess.run([template_checker("parliament"), "--json"], input=policy, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode == 0) == (not found), done
    return [f"{finding['issue']}: {finding['detail']}" for finding in found]
