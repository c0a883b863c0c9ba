"""Definitions that come out of a store."""

from __future__ import annotations

import traceback

import pytest

from mstream.config.definition import stored_definitions
from mstream.errors import ConfigError
from mstream.providers import CATALOG

SECRET = "pl4nted"
READ = stored_definitions(CATALOG)


def test_what_older_versions_took_is_read() -> None:
    found = READ({"provider": "kafka", "name": "k", "bootstrap.servers": "b", "session.timeout.ms": 6000})

    assert found.sealed()["session.timeout.ms"] == "6000"


def test_a_definition_that_is_not_valid_is_told_without_its_values() -> None:
    with pytest.raises(ConfigError, match=r"db_name: .*; colour: ") as caught:
        READ({"provider": "mongodb", "name": "d", "connection_string": SECRET, "colour": SECRET})

    assert SECRET not in "".join(traceback.format_exception(caught.value))
