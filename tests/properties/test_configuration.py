"""Whatever is done to a file: loading answers with problems, and never shows a secret."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.config.checks import cross_findings
from mstream.config.document import file_model
from mstream.config.file import load
from mstream.config.legacy import modernised
from mstream.config.problems import dotted
from mstream.config.shape import parsed
from mstream.providers import CATALOG

SECRET = "pl4nted"
SHAPE = file_model(CATALOG)

TEXT = f"""\
[system]
state = "./state.db"
encryption_key_path = "./key"
allow_python_scripts = true
checkpoints = {{ service_name = "db", resource = "positions" }}
api = {{ port = 8719, env_allow = ["A", "B"] }}

[system.job_lifecycle]
startup_state = "keep"

[[services]]
provider = "file"
name = "files"
path = "."

[[services]]
provider = "sql"
name = "db"
url = "postgresql://user:{SECRET}@host:5432/database?sslpassword={SECRET}"
write_mode = "upsert"

[[services]]
provider = "mongodb"
name = "mongo"
connection_string = "mongodb://user:{SECRET}@host/"
db_name = "shop"

[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "localhost:9092"
"sasl.password" = "{SECRET}"
"session.timeout.ms" = 6000

[[services]]
provider = "pubsub"
name = "topics"
project_id = "p"
auth = {{ kind = "static_token", env_token_name = "TOKEN" }}

[[services]]
provider = "udf"
name = "scripts"
script_path = "./scripts"
engine = {{ kind = "python" }}
sources = [{{ filename = "a.py", content = "KEY = 1" }}]

[[connectors]]
name = "one"
delivery = "effectively_once"
on_error = "dead_letter"
batch = {{ kind = "count", size = 5, max_wait_ms = 10 }}
retry = {{ max_attempts = 3 }}
source = {{ service_name = "files", resource = "*.jsonl", start = "end" }}
middlewares = [{{ service_name = "scripts", resource = "a.py", deadline_ms = 5 }}]
schemas = [{{ id = "s", service_name = "mongo", resource = "s" }}]
sinks = [
    {{ service_name = "db", resource = "t", key_columns = ["id"], schema_id = "s" }},
    {{ service_name = "mongo", resource = "c", write_mode = "replace" }},
]

[[connectors]]
name = "two"
source = {{ service_name = "bus", resource = "t", input_encoding = "json" }}
dead_letters = {{ service_name = "bus", resource = "lost" }}
sinks = [{{ service_name = "bus", resource = "u" }}]
"""

LINES = TEXT.splitlines()
VALUES = [
    "-1", "0", "1.5", "nan", "inf", "true", '""', '"x"', "[]", "[1]", "[[1], {}]", "{}", "{ a = 1 }",
    "1979-05-27", "07:32:00", "99999999999999999999", "'env:NOWHERE'", "'postgresql://[::'", "'sqlite://'", "'\\u0000'",
]  # fmt: skip

numbers = st.integers(0, len(LINES) - 1)


def cut(lines: list[str], at: int, other: int) -> None:
    del lines[at % len(lines)]


def doubled(lines: list[str], at: int, other: int) -> None:
    lines.insert(other % len(lines), lines[at % len(lines)])


def exchanged(lines: list[str], at: int, other: int) -> None:
    one, two = at % len(lines), other % len(lines)
    lines[one], lines[two] = lines[two], lines[one]


def revalued(lines: list[str], at: int, other: int) -> None:
    key, equals, _ = lines[at % len(lines)].partition(" = ")
    if equals:
        lines[at % len(lines)] = f"{key} = {VALUES[other % len(VALUES)]}"


def renamed(lines: list[str], at: int, other: int) -> None:
    _, equals, value = lines[at % len(lines)].partition(" = ")
    if equals:
        lines[at % len(lines)] = f"{LINES[other].partition(' = ')[0]} = {value}"


def clipped(lines: list[str], at: int, other: int) -> None:
    line = lines[at % len(lines)]
    lines[at % len(lines)] = line[: other % (len(line) + 1)] + line[other % (len(line) + 1) + 1 :]


CHANGES = st.sampled_from([cut, doubled, exchanged, revalued, renamed, clipped])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "mstream-config.toml"


def test_the_file_as_it_stands_can_be_loaded(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8")
    loaded = load(path, CATALOG, {})

    assert loaded.config is not None, loaded.problems
    assert SECRET not in repr(loaded)


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(CHANGES, numbers, numbers), min_size=1, max_size=6))
def test_a_mangled_file_gives_problems_and_no_secret(path: Path, changes: list[tuple[object, int, int]]) -> None:
    lines = list(LINES)
    for change, at, other in changes:
        change(lines, at, other)  # type: ignore[operator]  # one of those above
    text = "\n".join(lines)
    path.write_text(text, encoding="utf-8")

    loaded = load(path, CATALOG, {})

    assert SECRET not in repr(loaded)
    assert SECRET not in json.dumps([each.as_document() for each in loaded.problems])
    if loaded.config is None:
        assert loaded.problems
    for each in loaded.problems:
        assert each.line is None or 1 <= each.line <= text.count("\n") + 1


ODD: list[object] = [
    None, -1, 0, 1.5, float("nan"), True, "", "x", [], [1], [[1], {}], {}, {"a": 1}, date(1979, 5, 27), 1 << 70,
    "env:NOWHERE", "postgresql://[::", "sqlite://", "\0", "one", "files", "db", "bus", "_state", "python", "udf",
]  # fmt: skip


def places_of(value: object) -> Iterator[tuple[dict[str, object] | list[object], str | int]]:
    """Every value of the tables, by what it stands in and its key or index there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield value, key  # type: ignore[misc]  # a table or a list, or there would be no pairs
        yield from places_of(each)


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(ODD)), min_size=1, max_size=4))
def test_any_value_anywhere_gives_problems_and_no_secret(changes: list[tuple[int, object]]) -> None:
    tables = tomllib.loads(TEXT)
    for number, odd in changes:
        found = list(places_of(tables))
        if not found:
            return
        holder, key = found[number % len(found)]
        holder[key] = copy.deepcopy(odd)  # type: ignore[index, call-overload]  # its own key

    modern, findings = modernised(tables, CATALOG)
    config, faults = parsed(SHAPE, modern)
    findings += [*faults, *cross_findings(modern, CATALOG, {})]

    assert SECRET not in repr(findings)
    assert SECRET not in "".join(dotted(each.path) for each in findings)
    assert config is not None or faults
