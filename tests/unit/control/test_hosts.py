"""A service that keeps a store, of a provider that cannot do more here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mstream.config.file import load
from mstream.config.problems import Code
from mstream.control.authority import SoleOwner
from mstream.control.services import ServiceRegistry
from mstream.foundation.clock import SystemClock
from mstream.providers import CATALOG

#: With sql as one that is not built, its stores apart.
HALF = tuple(replace(each, built=each.name != "sql" and each.built) for each in CATALOG)
FILE = """
[system.checkpoints]
service_name = "db"
resource = "places"
[[services]]
provider = "sql"
name = "db"
url = "sqlite:///m.db"
[[services]]
provider = "sql"
name = "idle"
url = "sqlite:///i.db"
[[services]]
provider = "memory"
name = "m"
[[connectors]]
name = "copy"
source = { service_name = "m", resource = "in" }
sinks = [ { service_name = "SINK", resource = "out" } ]
"""


@pytest.mark.parametrize(("sink", "told"), [("m", ["services[1]"]), ("db", ["services[0]", "services[1]"])])
async def test_it_is_fine_unless_a_job_asks_for_more(tmp_path: Path, sink: str, told: Sequence[str]) -> None:
    path = tmp_path / "mstream-config.toml"
    path.write_text(FILE.replace("SINK", sink))
    found = load(path, HALF, {})
    unavailable = [each.path for each in found.problems if each.code is Code.PROVIDER_UNAVAILABLE]
    assert unavailable == [f"{each}.provider" for each in told]

    assert found.config is not None
    jobs = {sink: ["copy"]}
    registry = ServiceRegistry(file=found.config, catalog=HALF, clock=SystemClock(), naming=lambda: jobs)
    await registry.open(None, audit=None, authority=SoleOwner())
    assert registry.view("db").status == ("ready" if sink == "m" else "error")
    assert registry.view("idle").status == "error"
