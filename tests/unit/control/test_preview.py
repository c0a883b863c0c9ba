"""A dry run keeps to the rules of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstream.config.document import file_model
from mstream.control.preview import preview
from mstream.providers import CATALOG
from tests.servers.schema_registry import SchemaRegistryServer


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_dry_run_runs_python_scripts_only_where_they_are_allowed(tmp_path: Path, *, allowed: bool) -> None:
    (tmp_path / "in.jsonl").write_text('{"n":1}\n', encoding="utf-8")
    (tmp_path / "ran.py").write_text("def transform(data, attributes):\n    return data\n", encoding="utf-8")
    file = file_model(CATALOG).model_validate(
        {
            "system": {"allow_python_scripts": allowed},
            "services": [
                {"provider": "file", "name": "files", "path": str(tmp_path)},
                {"provider": "udf", "name": "py", "script_path": str(tmp_path), "engine": {"kind": "python"}},
            ],
            "connectors": [
                {
                    "name": "job",
                    "source": {"service_name": "files", "resource": "in.jsonl"},
                    "middlewares": [{"service_name": "py", "resource": "ran.py"}],
                    "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
                }
            ],
        }
    )
    written: list[str] = []

    code = await preview(file, CATALOG, records=1, quiet_sec=5, write=written.append)

    assert (code, len(written)) == ((0, 1) if allowed else (1, 0))
    assert not (tmp_path / "out.jsonl").exists()


async def test_a_dry_run_asks_a_registry_and_registers_nothing(
    tmp_path: Path, schema_registry: SchemaRegistryServer
) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "more": true}\n')
    schema = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]})
    files = {"service_name": "files", "resource": "in.jsonl"}
    order = {"id": "order", "service_name": "registry", "resource": "orders-value", "text": schema}
    file = file_model(CATALOG).model_validate(
        {
            "services": [
                {"provider": "file", "name": "files", "path": str(tmp_path)},
                {"provider": "schema_registry", "name": "registry", "url": schema_registry.url},
            ],
            "connectors": [
                {"name": "job", "source": {**files, "schema_id": "order"}, "schemas": [order], "sinks": [files]}
            ],
        }
    )
    shown: list[str] = []

    async def code() -> int:
        return await preview(file, CATALOG, records=1, quiet_sec=5, write=shown.append)

    assert await code() == 1
    assert schema_registry.subjects == {}
    schema_registry.add("orders-value", schema)
    assert await code() == 0
    assert shown == ['{"job": "job", "record": {"id":1}}']
    assert {each.partition(" ")[0] for each in schema_registry.asked} == {"GET"}
