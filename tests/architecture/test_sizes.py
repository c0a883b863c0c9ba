"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

from statistics import median

import pytest

from tests.architecture.source import functions, modules, shown

LONGEST_FILE = 500
LONGEST_FUNCTION = 50
MEDIAN_FILE = 150


def too_large(name: str, text: str) -> list[str]:
    """What in a module is longer than it may be."""
    lines = len(text.splitlines())
    found = [f"{name}: {lines} lines"] if lines > LONGEST_FILE else []
    return found + [f"{name}: {each} has {size}" for each, size in functions(text) if size > LONGEST_FUNCTION]


def test_no_file_and_no_function_is_too_large() -> None:
    found = [each for path in modules() for each in too_large(shown(path), path.read_text())]

    assert found == []


def test_half_of_the_files_are_short() -> None:
    sizes = [len(path.read_text().splitlines()) for path in modules()]

    assert median(sizes) <= MEDIAN_FILE


@pytest.mark.parametrize("start", ["def long():", "async def long():", "class Any:\n    def long(self):"])
def test_a_long_function_is_noticed(start: str) -> None:
    body = "        pass\n" * LONGEST_FUNCTION

    assert too_large("planted.py", f"{start}\n{body}") == [f"planted.py: long has {LONGEST_FUNCTION + 1}"]


def test_a_long_file_is_noticed() -> None:
    assert too_large("planted.py", "pass\n" * (LONGEST_FILE + 1)) == [f"planted.py: {LONGEST_FILE + 1} lines"]
