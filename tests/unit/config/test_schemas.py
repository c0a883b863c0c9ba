"""Schemas of a connector, checked before any record is read: where each comes from, and where one is missing."""

import json
from pathlib import Path

import pytest

from mstream.config.connector import connector_of_request
from mstream.config.system import System
from mstream.errors import ConfigError
from mstream.providers import CATALOG
from tests.unit.config.loading import SERVICES, VALID, config, loaded

ORDER = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]})
KAFKA = """
[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "127.0.0.1:1"

[[services]]
provider = "mongodb"
name = "home"
connection_string = "env:NOWHERE"
db_name = "home"

[[services]]
provider = "schema_registry"
name = "registry"
url = "http://127.0.0.1:1"
"""
AVRO = ', output_encoding = "avro"'


def connector(schemas: str = "", source: str = "", sink: str = "", step: str | None = None, to: str = "bus") -> str:
    """From a topic through a script to a topic, each with more keys."""
    between = f'middlewares = [{{ service_name = "scripts", resource = "s.py"{step} }}]' if step is not None else ""
    return f"""
[system]
state = "./state.db"
{SERVICES}{KAFKA}
[[connectors]]
name = "one"
source = {{ service_name = "bus", resource = "in"{source} }}
{between}
schemas = [{schemas}]
sinks = [{{ service_name = "{to}", resource = "out"{sink} }}]
"""


def found(folder: Path, text: str) -> list[tuple[str, str]]:
    """Path and code of what makes the file unusable, without the connector's own path."""
    result = loaded(folder, text)
    errors = [each for each in result.problems if each.severity == "error"]
    return [(each.path.removeprefix("connectors[0]."), each.code.value) for each in errors]


INLINE = f"{{ id = 'order', text = '{ORDER}' }}"
FROM_AVRO, TO_AVRO = ', input_encoding = "avro"', ', input_encoding = "json"'
BY_ORDER = ", schema_id = 'order'"


@pytest.mark.parametrize(
    ("schemas", "problems"),
    [
        (INLINE, []),
        ("{ id = 'order' }", [("schemas[0].text", "missing_key")]),
        ("{ id = 'order', service_name = 'home' }", [("schemas[0].resource", "missing_key")]),
        ("{ id = 'order', resource = 'x' }", [("schemas[0].service_name", "missing_key")]),
        ("{ id = 'order', text = '{' }", [("schemas[0].text", "bad_value")]),
        (f"{{ id = 'order', text = '{ORDER}', encoding = 'json' }}", [("schemas[0].encoding", "bad_value")]),
        (f"{{ id = 'order', text = '{ORDER}', encoding = 'xml' }}", [("schemas[0].encoding", "bad_value")]),
        (f"{{ id = 'order', text = '{ORDER}', file = 'order.avsc' }}", [("schemas[0].file", "bad_value")]),
        ("{ id = 'order', file = 'nowhere.avsc' }", [("schemas[0].file", "bad_value")]),
        ("{ id = 'order', file = 'latin.avsc' }", [("schemas[0].file", "bad_value")]),
        ("{ id = 'order', service_name = 'files', resource = 'x' }", [("schemas[0].service_name", "role_unavailable")]),
        (f"{INLINE}, {INLINE}", [("schemas[1].id", "duplicate_name")]),
        ("{ id = 'order', service_name = 'home', resource = 'x' }", []),
        ("{ id = 'order', service_name = 'db', resource = 'x' }", []),
        (
            f"{{ id = 'order', service_name = 'db', resource = 'x', text = '{ORDER}' }}",
            [("schemas[0].text", "bad_value")],
        ),
        (f"{{ id = 'order', service_name = 'registry', resource = 'x', text = '{ORDER}' }}", []),
    ],
)
def test_an_entry_says_what_the_schema_is(tmp_path: Path, schemas: str, problems: list[tuple[str, str]]) -> None:
    (tmp_path / "latin.avsc").write_bytes(b"\xff")

    assert found(tmp_path, connector(schemas, TO_AVRO)) == problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        # What passes as it is needs no schema.
        (connector("", FROM_AVRO + AVRO, AVRO), []),
        (connector("", FROM_AVRO, ""), [("source.output_encoding", "no_schema")]),
        (connector("", TO_AVRO + AVRO, AVRO), [("source.output_encoding", "no_schema")]),
        (connector("", TO_AVRO, AVRO), [("sinks[0].output_encoding", "no_schema")]),
        (connector("", FROM_AVRO + AVRO, AVRO, step=AVRO), [("middlewares[0].output_encoding", "no_schema")]),
        # The last one that is named counts on.
        (connector(INLINE, FROM_AVRO + AVRO + BY_ORDER, "", step=""), []),
        (connector(INLINE, TO_AVRO, AVRO, step=BY_ORDER), []),
        (connector(INLINE, TO_AVRO + BY_ORDER, AVRO), []),
        (connector(INLINE, TO_AVRO, AVRO + BY_ORDER), []),
        (connector(INLINE, FROM_AVRO + BY_ORDER, AVRO, to="home"), [("sinks[0].output_encoding", "bad_value")]),
        (connector(INLINE, FROM_AVRO, ', schema_id = "ordr"'), [("sinks[0].schema_id", "unknown_reference")]),
    ],
)
def test_avro_needs_a_schema_where_somebody_looks_into_it(
    tmp_path: Path, text: str, problems: list[tuple[str, str]]
) -> None:
    assert set(problems) <= set(found(tmp_path, text))
    assert bool(problems) == bool(found(tmp_path, text))


@pytest.mark.parametrize(
    ("source", "sink", "problems"),
    [
        (BY_ORDER, "", []),
        ("", AVRO + BY_ORDER, []),
        ("", "", [("schemas[0].resource", "missing_key")]),
        (BY_ORDER, BY_ORDER, [("schemas[0].resource", "missing_key")]),
    ],
)
def test_a_registry_calls_the_schema_of_one_topic_by_that(
    tmp_path: Path, source: str, sink: str, problems: list[tuple[str, str]]
) -> None:
    text = connector("{ id = 'order', service_name = 'registry' }", TO_AVRO + source, sink)

    assert found(tmp_path, text) == problems


BY_KEY = ", key_schema_id = 'order'"
OF_REGISTRY = "{ id = 'order', service_name = 'registry' }"
NO_KEYS = [("sinks[0].key_schema_id", "bad_value")]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (connector(INLINE, TO_AVRO + BY_KEY, BY_KEY), []),
        (connector(INLINE, TO_AVRO, BY_KEY + ', key_field = "id"'), []),
        (connector("", TO_AVRO + BY_KEY), [("source.key_schema_id", "unknown_reference")]),
        (connector(INLINE, TO_AVRO, ", key_schema_id = 'ordr'"), [("sinks[0].key_schema_id", "unknown_reference")]),
        (connector(INLINE, TO_AVRO, BY_KEY, to="home"), NO_KEYS),
        (connector(INLINE, TO_AVRO, BY_KEY + ', key = "none"'), NO_KEYS),
        (connector(INLINE, TO_AVRO, BY_KEY + ', key = "none", key_field = "id"'), []),
        (
            connector(INLINE, BY_KEY).replace(
                'service_name = "bus", resource = "in"', 'service_name = "files", resource = "in.jsonl"'
            ),
            [("source.key_schema_id", "bad_value")],
        ),
        (connector(INLINE, TO_AVRO, step=BY_KEY), [("middlewares[0].key_schema_id", "unknown_key")]),
        (
            connector(f"{{ id = 'order', text = '{ORDER}', encoding = 'json' }}", TO_AVRO + BY_KEY),
            [("schemas[0].encoding", "bad_value")],
        ),
        # What a registry calls it is told by one topic, for its records or for its keys.
        (connector(OF_REGISTRY, TO_AVRO, BY_KEY), []),
        (connector(OF_REGISTRY, TO_AVRO + BY_KEY, BY_KEY), [("schemas[0].resource", "missing_key")]),
        (connector(OF_REGISTRY, TO_AVRO, AVRO + BY_ORDER + BY_KEY), [("schemas[0].resource", "missing_key")]),
    ],
)
def test_keys_have_a_schema_where_there_are_keys(tmp_path: Path, text: str, problems: list[tuple[str, str]]) -> None:
    assert found(tmp_path, text) == problems


def test_what_is_wrong_with_a_schema_of_keys_comes_with_advice(tmp_path: Path) -> None:
    result = loaded(tmp_path, connector(INLINE, TO_AVRO + ", key_schema_id = 'ordr'", BY_KEY, to="home"))

    assert [(each.message, each.suggestion) for each in result.problems if each.severity == "error"] == [
        ("there is no schema 'ordr' in this connector", "did you mean 'order'?"),
        ("records of this service (mongodb) are written without such keys", "take it out"),
    ]


def test_the_text_of_a_file_is_taken_in_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/order.avsc").write_text(ORDER)

    value = config(tmp_path, connector("{ id = 'order', file = 'schemas/order.avsc' }", FROM_AVRO + BY_ORDER))

    (schema,) = value.connectors[0].schemas
    assert (schema.text, schema.file, schema.service_name) == (ORDER, None, None)
    assert "bus" in value.connectors[0].service_names


def test_a_file_that_is_no_schema_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(ORDER.replace("long", "lnog"))

    result = loaded(tmp_path, connector("{ id = 'order', file = 'order.avsc' }", FROM_AVRO + BY_ORDER))

    (problem,) = [each for each in result.problems if each.severity == "error"]
    assert "'lnog' is no type" in problem.message
    assert problem.line is not None


def test_a_request_cannot_name_a_file(tmp_path: Path) -> None:
    services = {each.name: each for each in config(tmp_path, VALID).services}
    body = {
        "name": "one",
        "source": {"service_name": "files", "resource": "in.jsonl"},
        "schemas": [{"id": "order", "file": "/etc/passwd"}],
        "sinks": [{"service_name": "db", "resource": "orders", "schema_id": "order"}],
    }

    with pytest.raises(ConfigError, match=r"schemas\[0\].file: only a configuration file can name a file"):
        connector_of_request(body, services, System(), CATALOG)
    body["schemas"] = [{"id": "order", "text": ORDER}]
    assert connector_of_request(body, services, System(), CATALOG).schemas[0].text == ORDER
