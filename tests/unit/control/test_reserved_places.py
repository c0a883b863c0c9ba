"""The configuration file is nothing that a service of the API may write over."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstream.config.document import ConfigFile
from mstream.control.authority import SoleOwner
from mstream.control.services import ServiceRegistry
from mstream.domain.audit import Actor
from mstream.errors import ConfigError
from mstream.foundation.clock import SystemClock
from mstream.providers import CATALOG


async def test_nobody_writes_where_the_configuration_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    registry = ServiceRegistry(
        file=ConfigFile(), catalog=CATALOG, clock=SystemClock(), naming=dict, path="conf/mstream-config.toml"
    )
    await registry.open(None, audit=None, authority=SoleOwner())
    by = Actor(who="anna")

    for path in (".", "conf", "conf/mstream-config.toml"):
        with pytest.raises(ConfigError, match="the configuration file"):
            await registry.create({"provider": "file", "name": "f", "path": path}, by=by)
    await registry.create({"provider": "file", "name": "f", "path": "conf/data"}, by=by)
