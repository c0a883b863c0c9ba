"""Every promise of the data plane names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = (ROOT / "docs" / "specs" / "invariants.md").read_text(encoding="utf-8")


def named(text: str) -> list[str]:
    """The files and folders in the last column of each row."""
    rows = [line.rstrip(" |").rsplit("|", 1)[-1] for line in text.splitlines() if re.match(r"\| I\d+ ", line)]
    return [path for row in rows for path in re.findall(r"`((?:tests|bench)/[^`]*)`", row)]


def missing(text: str) -> list[str]:
    """What is named and is not there."""
    return sorted({path for path in named(text) if not (ROOT / path).exists()})


def test_every_promise_is_held_by_something_that_is_there() -> None:
    promises = re.findall(r"^\| (I\d+) .*\|.*`.*`.*\|$", TABLES, re.MULTILINE)

    assert promises == [f"I{number}" for number in range(1, len(promises) + 1)]
    assert len(promises) == len(re.findall(r"^\| I\d+ ", TABLES, re.MULTILINE))
    assert missing(TABLES) == []


def test_a_file_that_is_not_there_is_noticed() -> None:
    assert missing("| I1 | *No.* MUST NOT. | `tests/none.py`, `tests/unit` |") == ["tests/none.py"]
