"""Which jobs v0.47 could run, and which services it could use, as they are."""

from typing import Any

import pytest

from mstream.control.exports import _is_job_of_v047, _is_of_v047
from mstream.providers.mongodb.config import MongodbConfig


@pytest.mark.parametrize(
    ("keys", "fits"),
    [
        ({}, True),
        ({"json_mode": "flat"}, True),
        ({"json_mode": "canonical"}, False),
        ({"output_encoding": "text"}, False),
        ({"key_schema_id": None}, True),
        ({"key_schema_id": "order"}, False),
        ({"write_mode": "replace"}, True),
        ({"write_mode": "merge"}, False),
    ],
)
def test_what_v047_would_do_otherwise_is_nothing_for_it(keys: dict[str, Any], fits: bool) -> None:
    sink = {"service_name": "bus", "resource": "orders", "output_encoding": "json", **keys}
    pipeline = {"source": {"service_name": "db", "resource": "orders"}, "sinks": [sink]}

    assert _is_job_of_v047({"pipeline": pipeline}, {}) is fits


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        ({"service_name": "db", "resource": "order"}, True),
        ({"text": '"long"'}, False),
        ({"service_name": "db", "resource": "order", "text": '"long"'}, False),
    ],
)
def test_a_schema_in_the_definition_itself_is_nothing_for_it(schema: dict[str, Any], fits: bool) -> None:
    part = {"service_name": "db", "resource": "orders"}
    pipeline = {"source": part, "sinks": [part], "schemas": [{"id": "order", **schema}]}

    assert _is_job_of_v047({"pipeline": pipeline}, {}) is fits


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({}, True),
        ({"write_mode": "replace"}, True),
        ({"write_mode": "upsert"}, False),
        ({"username": "u", "password": "p"}, False),
        ({"tls": True}, False),
        ({"key_fields": ["k"]}, False),
    ],
)
def test_a_service_that_v047_would_use_otherwise_is_left_out(settings: dict[str, Any], fits: bool) -> None:
    config = MongodbConfig.model_validate(
        {"name": "m", "connection_string": "mongodb://h/", "db_name": "d", **settings}
    )

    assert _is_of_v047(config) is fits
    assert _is_of_v047(MongodbConfig.model_validate(config.sealed())) is fits
