"""Where a job begins that has no position."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.control.beginning import begun, require_begin
from mstream.domain.checkpoint import Begin, Checkpoint
from mstream.domain.connector import ConnectorSpec
from mstream.domain.reset import Target, ToBegin, ToPositions, ToWaypoint
from mstream.domain.service import ServiceConfig
from mstream.errors import UsageError
from mstream.foundation.secrets import Secret
from mstream.providers import CATALOG
from mstream.providers.file.config import FileConfig
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.sql.config import SqlConfig

FILES = FileConfig(name="files", path=".")
DATABASE = SqlConfig(name="db", url=Secret("sqlite:///x.db"))


def connector(**options: Any) -> ConnectorSpec:
    return ConnectorSpec.model_validate(
        {
            "name": "copy",
            "source": {"service_name": "files", "resource": "in.jsonl", **options},
            "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
        }
    )


def source_of(spec: ConnectorSpec, **checkpoint: Any) -> dict[str, Any]:
    return begun(spec, Checkpoint(job="copy", **checkpoint), FILES, CATALOG).source.model_dump(exclude_unset=True)


@pytest.mark.parametrize("configured", [{}, {"start": "beginning"}, {"start": "end"}])
@pytest.mark.parametrize(("begin", "start"), [(Begin.BEGINNING, "beginning"), (Begin.NOW, "end")])
def test_a_reset_wins_over_what_the_options_say(configured: dict[str, str], begin: Begin, start: str) -> None:
    spec = connector(**configured)

    source = source_of(spec, begin=begin)

    assert source == {"service_name": "files", "resource": "in.jsonl", "start": start}
    assert spec == connector(**configured)


@pytest.mark.parametrize(
    ("configured", "begin", "snapshot"),
    [
        ("never", Begin.BEGINNING, "initial"),
        ("initial", Begin.BEGINNING, "initial"),
        ("only", Begin.BEGINNING, "only"),
        ("initial", Begin.NOW, "never"),
    ],
)
def test_a_job_that_reads_nothing_but_a_snapshot_stays_one(configured: str, begin: Begin, snapshot: str) -> None:
    orders = MongodbConfig(name="files", connection_string=Secret("mongodb://h/"), db_name="d")
    spec = connector(snapshot=configured)

    assert begun(spec, Checkpoint(job="copy", begin=begin), orders, CATALOG).source.options["snapshot"] == snapshot


def test_without_a_reset_the_options_hold() -> None:
    spec = connector(start="end")

    assert source_of(spec) == spec.source.model_dump(exclude_unset=True)


def test_a_position_wins_over_where_to_begin() -> None:
    assert "start" not in source_of(connector(), positions={"in.jsonl": 1}, begin=Begin.NOW)


def test_a_source_that_knows_no_such_place_is_left_alone() -> None:
    spec = connector()

    assert begun(spec, Checkpoint(job="copy", begin=Begin.NOW), DATABASE, CATALOG) == spec


@pytest.mark.parametrize("begin", [Begin.BEGINNING, Begin.NOW])
def test_a_source_that_cannot_be_put_there_is_named(begin: Begin) -> None:
    with pytest.raises(UsageError, match=r"'copy'.*'sql'.*give a position"):
        require_begin(connector(), ToBegin(begin=begin), DATABASE, CATALOG)


@pytest.mark.parametrize(
    ("to", "config"),
    [
        (ToBegin(), DATABASE),
        (ToPositions(positions={"": 1}), DATABASE),
        (ToWaypoint(number=1), DATABASE),
        (ToBegin(begin=Begin.NOW), FILES),
        (ToBegin(begin=Begin.BEGINNING), FILES),
    ],
)
def test_every_other_place_is_for_every_source(to: Target, config: ServiceConfig) -> None:
    require_begin(connector(), to, config, CATALOG)
