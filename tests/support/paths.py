"""Where the program under test and the test data are, and how slow it is."""

import os
import platform
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
REPO = TESTS.parent
README = REPO / "README.md"
EDGE_CASES = TESTS / "data" / "edge"
LAB = REPO.parent / "shared" / "data" / "lab"

# How many times slower than a release build it is: inputs that take time are smaller, limits of time are greater.
SLOWDOWN = int(os.environ.get("KPID_SLOWDOWN", "1"))

# The processor it is for, and what may cut CSV there, unless another is asked for.
MACHINE = os.environ.get("KPID_MACHINE") or platform.machine()
SIMD = {"x86_64": ("avx512", "avx2", "scalar"), "aarch64": ("neon",)}


def kpid_binary() -> Path:
    """The program: $KPID_BIN, else the release build, else the dev build."""
    if named := os.environ.get("KPID_BIN"):
        return Path(named).resolve()
    builds = [REPO / "build" / preset / "kpid" for preset in ("release", "dev")]
    return next((path for path in builds if path.exists()), builds[0])


def project_version() -> str:
    """The version, from the one place that has it."""
    return re.search(r"^project\(kpid VERSION (\S+)", (REPO / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]


def clean_env(**settings: str) -> dict[str, str]:
    """The environment without any KPI_* or AWS_* setting of the caller, plus `settings`."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("KPI_", "AWS_"))
    }
    return {**inherited, **settings}
