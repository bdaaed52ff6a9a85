"""The service is what openapi.yaml says, by Schemathesis: all checks, examples, limits, random data and linked calls."""

import os
import subprocess

import pytest

from support.paths import TESTS
from support.tools import schemathesis_program

# How many examples an operation, drawn anew; without it the same few each time.
EXAMPLES = os.environ.get("KPID_SCHEMATHESIS_EXAMPLES")


@pytest.mark.timeout(900)
def test_every_answer_is_as_described(start_server, tmp_path):
    server = start_server()
    result = subprocess.run(
        [
            schemathesis_program(),
            "--config-file",
            TESTS / "schemathesis.toml",
            "run",
            f"http://127.0.0.1:{server.port}/openapi.yaml",
            "--checks=all",
            f"--max-examples={EXAMPLES or 25}",
            *([] if EXAMPLES else ["--generation-deterministic"]),
            "--request-timeout=70",
            "--suppress-health-check=all",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=800,
    )
    print(result.stdout[-3000:])
    assert result.returncode == 0, result.stdout + result.stderr
    assert server.get("/readyz").status == 200
    assert not any(line.get("status", 0) == 500 for line in server.logs)
