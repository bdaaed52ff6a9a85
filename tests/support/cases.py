"""The data cases: folders of input files and what must come out of them."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support.cli import Result, Tables, read_tables
from support.paths import EDGE_CASES

ANY_DATE = "2023-01-15"


@dataclass(frozen=True)
class Refusal:
    """How a run must be refused: one of `code`, at one of `places`, for `dates` (or for all)."""

    code: list[str]
    places: list[dict[str, object]] = field(default_factory=list)
    dates: list[str] | None = None


@dataclass(frozen=True)
class Case:
    folder: Path
    title: str
    env: dict[str, str]
    options: list[str]
    refusal: Refusal | None
    expected: Tables | None

    @property
    def input(self) -> Path:
        return self.folder / "input"

    def __str__(self) -> str:
        return self.folder.name


def load_case(folder: Path) -> Case:
    about = yaml.safe_load((folder / "case.yaml").read_text(encoding="utf-8"))
    refusal = Refusal(**about["refusal"]) if "refusal" in about else None
    expected = (
        read_tables(folder / "expected") if (folder / "expected").is_dir() else None
    )
    return Case(
        folder,
        about["title"],
        about.get("env", {}),
        about.get("options", []),
        refusal,
        expected,
    )


def load_cases() -> list[Case]:
    return [load_case(path.parent) for path in sorted(EDGE_CASES.glob("*/case.yaml"))]


def place_in(message: str, place: dict[str, object]) -> bool:
    """Whether the message names the object (with :line), the column and the value."""
    where = (
        f"{place['object']}:{place['line']}"
        if "line" in place
        else str(place["object"])
    )
    return all(
        part in message
        for part in (where, place.get("column", ""), place.get("value", ""))
    )


def refusal_faults(result: Result, refusal: Refusal) -> list[str]:
    """What is wrong with a refusal; empty when it is as it must be."""
    faults = []
    wanted_exit = {66 if code.startswith("source_") else 65 for code in refusal.code}
    if result.code not in wanted_exit:
        faults.append(f"exit {result.code}, expected one of {wanted_exit}")
    if result.error_code not in refusal.code:
        faults.append(f"code {result.error_code}, expected one of {refusal.code}")
    if refusal.places and not any(
        place_in(result.message, place) for place in refusal.places
    ):
        faults.append(f"message {result.message!r} names none of {refusal.places}")
    if not result.hint:
        faults.append("no hint")
    return faults
