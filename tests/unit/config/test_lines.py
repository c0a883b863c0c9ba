"""Every key of a valid text is found on its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.config.lines import line_of, lines_of
from mstream.config.problems import Path

TEXT = '''\
top = 1
"quoted.key" = 2 # a comment with [brackets] = and "quotes"
a.b.c = 3
'lit' . x = 4

[table]
text = """
not = "a key"
[not.a.table]
""" # after
literal = \'\'\'
also = 'not'\'\'\'
after = 5

[table.below."dotted.name"]
x = { y = 1, "z.z" = { w = [1, 2] } }

[[list]]
name = "first"
[list.sub]
deep = 1
[[list.items]]
n = 1
[[list.items]]
n = 2

[[list]]
name = "second"
inline = [
    { k = 1 },
    # a comment
    { k = 2, l = [
        "x", "y",
        "#z",
    ] },
]
[[list.items]]
n = 3
last = 1979-05-27 07:32:00
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("quoted.key",), 2),
        (("a",), 3),
        (("a", "b", "c"), 3),
        (("lit", "x"), 4),
        (("table",), 6),
        (("table", "text"), 7),
        (("table", "literal"), 11),
        (("table", "after"), 13),
        (("table", "below", "dotted.name"), 15),
        (("table", "below", "dotted.name", "x", "z.z", "w", 1), 16),
        (("list", 0), 18),
        (("list", 0, "name"), 19),
        (("list", 0, "sub", "deep"), 21),
        (("list", 0, "items", 0, "n"), 23),
        (("list", 0, "items", 1, "n"), 25),
        (("list", 1, "name"), 28),
        (("list", 1, "inline", 0, "k"), 30),
        (("list", 1, "inline", 1), 32),
        (("list", 1, "inline", 1, "l", 2), 34),
        (("list", 1, "items", 0, "n"), 38),
        (("list", 1, "items", 0, "last"), 39),
    ],
)
def test_a_path_is_found_on_its_line(path: Path, line: int) -> None:
    assert lines_of(TEXT)[path] == line


def test_lines_end_as_they_like() -> None:
    assert lines_of("a = 1\r\n\r\n[b]\r\nc = 2\r\n")[("b", "c")] == 4


def test_what_is_not_there_stands_where_it_would() -> None:
    lines = lines_of(TEXT)

    assert line_of(lines, ("list", 1, "missing", "deeper")) == 27
    assert line_of(lines, ("nowhere",)) is None


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*path, key))
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from paths(each, (*path, index))


def test_every_path_of_a_text_has_a_line() -> None:
    assert set(paths(tomllib.loads(TEXT))) <= set(lines_of(TEXT))


QUOTES = st.sampled_from(['"', "'", '"""', "'''"])
WORDS = st.text(alphabet="ab #[]{}=,.\n", max_size=12)


@given(st.lists(st.tuples(QUOTES, WORDS), max_size=8))
def test_no_text_between_quotes_is_taken_for_keys(values: list[tuple[str, str]]) -> None:
    """Each value is followed by a key whose line is known."""
    text = ""
    expected = {}
    for number, (quote, word) in enumerate(values):
        inside = word if len(quote) == 3 else word.replace("\n", " ")
        expected[(f"k{number}",)] = text.count("\n") + 1
        text += f"k{number} = {quote}{inside}{quote}\n"

    assert lines_of(text) == expected
    assert set(tomllib.loads(text)) == {path[0] for path in expected}
