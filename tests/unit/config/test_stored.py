"""Stored definitions are held to the file's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mstream.config.stored import StoredChecks
from mstream.config.system import System
from mstream.domain.connector import ConnectorSpec
from mstream.providers import CATALOG
from tests.unit.config.loading import VALID, config

FILES = {"service_name": "files", "resource": "in.jsonl"}
TABLE = {"service_name": "db", "resource": "orders"}
SCRIPT = {"service_name": "scripts", "resource": "mask.py"}


def connector(**fields: Any) -> ConnectorSpec:
    return ConnectorSpec.model_validate({"name": "orders", "source": FILES, "sinks": [TABLE], **fields})


@pytest.fixture
def checks(tmp_path: Path) -> StoredChecks:
    file = config(tmp_path, VALID)
    return StoredChecks(file.services, file.system, CATALOG)


def test_a_definition_that_could_stand_in_the_file_has_no_fault(checks: StoredChecks) -> None:
    assert checks.fault(connector(middlewares=[SCRIPT])) is None


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"source": {**FILES, "service_name": "scripts"}}, "cannot be a source"),
        ({"sinks": [SCRIPT]}, "sinks[0].service_name: service 'scripts' (udf) cannot be a sink"),
        ({"sinks": [{**TABLE, "write_mode": "sideways"}]}, "sinks[0].write_mode"),
        ({"sinks": [{**TABLE, "no_such_option": 1}]}, "no_such_option"),
        ({"sinks": [{**TABLE, "schema_id": "nowhere"}]}, "there is no schema 'nowhere'"),
        ({"sinks": [{**TABLE, "output_encoding": "avro"}]}, "records are in Avro here, and no schema says how"),
        ({"source": TABLE, "sinks": [FILES], "delivery": "effectively_once"}, "cannot deliver effectively once"),
    ],
)
def test_what_would_be_an_error_in_the_file_is_told(checks: StoredChecks, fields: dict[str, Any], wanted: str) -> None:
    assert wanted in (checks.fault(connector(**fields)) or "")


def test_several_faults_are_told_at_once(checks: StoredChecks) -> None:
    fault = checks.fault(connector(sinks=[SCRIPT, {**TABLE, "schema_id": "nowhere"}]))

    assert fault is not None
    assert fault.count(";") == 1


def test_missing_services_are_for_others_to_tell(checks: StoredChecks) -> None:
    assert checks.fault(connector(sinks=[{"service_name": "gone", "resource": "x"}, SCRIPT])) is None


def test_warnings_are_no_faults(tmp_path: Path) -> None:
    file = config(tmp_path, VALID)

    assert StoredChecks(file.services, System(), CATALOG).fault(connector()) is None


def test_an_encoding_that_older_versions_have_stored_in_vain_is_no_fault(tmp_path: Path) -> None:
    text = (
        VALID + '\n[[services]]\nprovider = "mongodb"\nname = "m"\nconnection_string = "mongodb://h/"\ndb_name = "d"\n'
    )
    file = config(tmp_path, text)
    source = {"service_name": "m", "resource": "c", "input_encoding": "json"}

    assert StoredChecks(file.services, file.system, CATALOG).fault(connector(source=source)) is None


def test_no_value_is_told(checks: StoredChecks) -> None:
    fault = checks.fault(connector(sinks=[{**TABLE, "write_mode": "pl4nted", "columns": 7}]))

    assert fault is not None
    assert "pl4nted" not in fault
