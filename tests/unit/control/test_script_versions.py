"""A run is started with its scripts as they were at that moment, and says which they were."""

from __future__ import annotations

from pathlib import Path
from random import Random

from mstream.config.definition import stored_definitions
from mstream.config.system import System
from mstream.control.launch import Launcher
from mstream.control.owner import Stores
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job
from mstream.foundation.clock import SystemClock
from mstream.providers import CATALOG
from mstream.runtimes.inline import InlineRuntime

SCRIPT = "def transform(data): return data\n"
SPEC = {
    "name": "orders",
    "source": {"service_name": "files", "resource": "in.jsonl"},
    "middlewares": [{"service_name": "scripts", "resource": "mask.py"}],
    "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
}


async def test_a_run_has_its_scripts_and_their_version_from_its_start(tmp_path: Path) -> None:
    parse = stored_definitions(CATALOG)
    services = {
        "files": parse({"provider": "file", "name": "files", "path": str(tmp_path)}),
        "scripts": parse(
            {"provider": "udf", "name": "scripts", "script_path": str(tmp_path), "engine": {"kind": "python"}}
        ),
    }
    job = Job(spec=ConnectorSpec.model_validate(SPEC), intent=Intent.RUNNING)
    path = tmp_path / "mask.py"
    async with InlineRuntime(CATALOG) as runtime:
        launcher = Launcher(
            system=System(),
            service=services.__getitem__,
            catalog=CATALOG,
            runtime=runtime,
            stores=Stores(),
            clock=SystemClock(),
            random=Random(1),
        )

        path.write_text(SCRIPT)
        one = (await launcher.prepare(job, "one")).spec
        again = (await launcher.prepare(job, "again")).spec
        path.write_text(SCRIPT + "# another\n")
        other = (await launcher.prepare(job, "other")).spec

    assert one.services["scripts"].sealed()["sources"] == [{"filename": "mask.py", "content": SCRIPT}]
    assert set(one.script_versions) == {"scripts"}
    assert one.script_versions == again.script_versions
    assert one.script_versions != other.script_versions
