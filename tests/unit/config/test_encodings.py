"""What a connector's encodings do to its records, before any record is read."""

import sys
from pathlib import Path

import pytest

from mstream.config.problems import Severity
from mstream.encodings import reason_unavailable
from tests.unit.config.loading import loaded

SERVICES = """\
[[services]]
name = "db"
provider = "mongodb"
connection_string = "env:NOWHERE"
db_name = "shop"

[[services]]
name = "files"
provider = "file"
path = "."

[[services]]
name = "scripts"
provider = "udf"
script_path = "."
engine = { kind = "python" }
"""
OF_ENCODINGS = {"types_lost", "encoding_unavailable"}


def found(folder: Path, connector: str) -> list[tuple[str, str]]:
    """Code and path of what is told about encodings."""
    result = loaded(folder, f'{SERVICES}\n[[connectors]]\nname = "one"\n{connector}')
    told = [each for each in result.problems if each.code in OF_ENCODINGS]
    assert all(each.severity is Severity.WARNING for each in told)
    return [(each.code.value, each.path.removeprefix("connectors[0].")) for each in told]


def chain(source: str = "", step: str = "", sink: str = "") -> str:
    """From a collection through a script into a collection, each with more keys."""
    return f"""\
source = {{ service_name = "db", resource = "a"{source} }}
middlewares = [{{ service_name = "scripts", resource = "s.py"{step} }}]
sinks = [{{ service_name = "db", resource = "b"{sink} }}]
"""


BSON, JSON = ', output_encoding = "bson"', ', output_encoding = "json"'


@pytest.mark.parametrize(
    ("connector", "places"),
    [
        (chain(BSON, BSON, BSON), []),
        # Said nowhere it is JSON: the one that is forgotten most easily.
        (chain("", "", BSON), ["sinks[0].output_encoding"]),
        (chain(JSON, BSON, BSON), ["middlewares[0].output_encoding"]),
        (chain(BSON, JSON, BSON), ["sinks[0].output_encoding"]),
        (chain(f'{BSON}, json_mode = "flat"', f'{JSON}, json_mode = "relaxed"', BSON), ["sinks[0].output_encoding"]),
        # It is the step that makes JSON whose mode counts.
        (chain(f'{JSON}, json_mode = "canonical"', JSON, BSON), []),
        (chain(JSON, f'{JSON}, json_mode = "canonical"', BSON), ["sinks[0].output_encoding"]),
        # A collection makes BSON of JSON by itself.
        (chain(BSON, BSON, JSON), ["sinks[0].output_encoding"]),
        (chain(JSON, JSON, JSON), ["sinks[0].output_encoding"]),
        (chain(BSON, BSON, ', output_encoding = "bosn"'), []),
    ],
)
def test_a_chain_that_loses_types_is_told(tmp_path: Path, connector: str, places: list[str]) -> None:
    assert found(tmp_path, connector) == [("types_lost", each) for each in places]


def test_what_was_json_from_the_start_loses_nothing(tmp_path: Path) -> None:
    connector = f"""\
source = {{ service_name = "files", resource = "in.jsonl"{BSON} }}
sinks = [{{ service_name = "db", resource = "b"{BSON} }}]
"""

    assert found(tmp_path, connector) == []


def test_types_that_are_wanted_as_json_are_not_lost_without_a_word(tmp_path: Path) -> None:
    connector = f"""\
source = {{ service_name = "db", resource = "a"{BSON} }}
sinks = [{{ service_name = "files", resource = "out.jsonl"{JSON} }}]
"""

    assert found(tmp_path, connector) == []


def test_each_sink_is_judged_by_itself(tmp_path: Path) -> None:
    connector = f"""\
source = {{ service_name = "db", resource = "a" }}
sinks = [
    {{ service_name = "files", resource = "out.jsonl" }},
    {{ service_name = "db", resource = "b"{BSON} }},
    {{ service_name = "db", resource = "c"{BSON} }},
]
"""

    assert found(tmp_path, connector) == [
        ("types_lost", "sinks[1].output_encoding"),
        ("types_lost", "sinks[2].output_encoding"),
    ]


def test_an_encoding_that_is_not_there_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)
    avro = ', output_encoding = "avro"'

    assert found(tmp_path, chain(avro, avro, JSON)) == [("encoding_unavailable", "source.output_encoding")]
    assert reason_unavailable("bson") is None


def test_a_mode_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    result = loaded(tmp_path, f'{SERVICES}\n[[connectors]]\nname = "one"\n{chain(step=", json_mode = 1")}')

    assert ("wrong_type", "connectors[0].middlewares[0].json_mode") in {
        (each.code.value, each.path) for each in result.problems
    }
