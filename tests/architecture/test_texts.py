"""What every module says about itself, and what no exemption leaves out."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.source import modules, shown

#: A checker is told to look away ...
EXEMPTION = re.compile(r"#\s*(noqa|type:\s*ignore|nosec|pragma:)", re.IGNORECASE)
#: ... from one thing, for a reason.
WITH_REASON = re.compile(
    r"#\s*(noqa: [A-Z]+\d+(, ?[A-Z]+\d+)* - \S|type: ignore\[[\w, -]+\]  # \S|pragma: no cover - \S)"
)


def silent(text: str) -> bool:
    """Whether a module does not say its duty in one sentence."""
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return not first.endswith((".", "!", "?"))


def unexplained(text: str) -> list[str]:
    """Lines that exempt themselves without a reason."""
    return [line.strip() for line in text.splitlines() if EXEMPTION.search(line) and not WITH_REASON.search(line)]


def test_every_module_says_its_duty() -> None:
    assert [shown(path) for path in modules() if silent(path.read_text())] == []


@pytest.mark.parametrize("text", ["", "import os\n", '"""no sentence"""\n'])
def test_a_silent_module_is_noticed(text: str) -> None:
    assert silent(text)


def test_every_exemption_has_a_reason() -> None:
    found = {shown(path): unexplained(path.read_text()) for path in modules()}

    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("comment", ["noqa", "noqa: E501", "type: ignore", "type: ignore[misc]", "pragma: no cover"])
def test_an_exemption_without_a_reason_is_noticed(comment: str) -> None:
    assert unexplained(f"import os  # {comment}\n") != []


@pytest.mark.parametrize("comment", ["noqa: E501, S608 - a table", "type: ignore[misc]  # the driver has no types"])
def test_an_exemption_with_a_reason_passes(comment: str) -> None:
    assert unexplained(f"import os  # {comment}\n") == []
