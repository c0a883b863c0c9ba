"""The real engine and real files in a real worker: what runs in one process runs in another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import CheckpointMode, Ending, RunSpec
from mstream.providers import CATALOG
from mstream.providers.file.config import FileConfig
from mstream.providers.udf.config import Engine, UdfConfig
from mstream.runtimes.base import Runtime
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.process import ProcessRuntime
from tests.unit.runtimes.stand_in import RecordingOwner

RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "inline": lambda: InlineRuntime(CATALOG),
    "pickled": lambda: InlineRuntime(CATALOG, pickled=True),
    "process": lambda: ProcessRuntime(workers=1),
}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return RUNTIMES[request.param]()


def copying(folder: Path, *, run_id: str, positions: dict[str, object] | None = None) -> RunSpec:
    """A run that copies `in.jsonl` to `out.jsonl`."""
    config = FileConfig(name="files", provider="file", path=str(folder))
    connector = ConnectorSpec.model_validate(
        {
            "name": "copy",
            "enabled": True,
            "source": {"service_name": "files", "resource": "in.jsonl"},
            "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
        }
    )
    return RunSpec(
        job="copy",
        run_id=run_id,
        epoch=1,
        connector=connector,
        services={"files": config},
        checkpoint=CheckpointMode.SAVED,
        positions=positions or {},
    )


async def test_files_are_copied_and_the_next_run_goes_on_where_the_first_ended(
    runtime: Runtime, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"n": n, "text": "ä" * (n % 7)}, ensure_ascii=False) + "\n" for n in range(5000)]
    source.write_text("".join(lines[:3000]), encoding="utf-8")
    owner = RecordingOwner()

    async with runtime:
        first = await runtime.start(copying(tmp_path, run_id="run-1"), owner)
        await first.started()
        first.finish()
        outcome = await first.outcome()
        assert outcome.ending is Ending.FINISHED, outcome
        assert first.status.records_delivered == 3000
        with source.open("a", encoding="utf-8") as more:
            more.write("".join(lines[3000:]))
        second = await runtime.start(copying(tmp_path, run_id="run-2", positions=dict(owner.saved)), owner)
        await second.started()
        second.finish()
        outcome = await second.outcome()

    assert outcome.ending is Ending.FINISHED, outcome
    assert second.status.records_delivered == 2000
    assert target.read_text(encoding="utf-8") == "".join(lines)


#: One lets other threads have their turn, the other holds the interpreter's lock for ever.
ENDLESS = {
    "a loop": "while True:\n        pass",
    "a regular expression": "import re\n    re.match('(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
async def test_a_script_without_end_costs_its_worker_and_an_attempt_never_the_owner(body: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for each in (tmp_path, elsewhere):
        (each / "in.jsonl").write_text('{"n": 1}\n', encoding="utf-8")
    (tmp_path / "endless.py").write_text(f"def transform(data, attributes):\n    {body}\n", encoding="utf-8")
    spec = copying(tmp_path, run_id="run-1")
    scripts = UdfConfig(name="scripts", script_path=str(tmp_path), engine=Engine(kind="python"))
    middleware = {"service_name": "scripts", "resource": "endless.py", "deadline_ms": 1000}
    connector = ConnectorSpec.model_validate(spec.connector.model_dump() | {"middlewares": [middleware]})
    spec = replace(spec, connector=connector, services={**spec.services, "scripts": scripts})
    owner = RecordingOwner()

    async with ProcessRuntime(workers=2) as runtime:
        neighbour = await runtime.start(replace(copying(elsewhere, run_id="run-2"), job="other"), owner)
        await neighbour.started()
        stuck = await runtime.start(spec, owner)
        outcome = await stuck.outcome()
        neighbour.drain()
        assert (await neighbour.outcome()).ending is Ending.DRAINED

    assert (outcome.reason, outcome.retryable, outcome.charged) == ("stalled", True, True), outcome
    assert "scripts/endless.py" in str(outcome.message)
