"""Every story of the engine is told three ways, unless it looks inside a run or measures its clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.engine.ways import Child, Direct, Home, Near, Pickled, Way


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    """One worker process for all stories that are told in a child."""
    with Home() as there:
        yield there


@pytest.fixture(params=["direct", "pickled", "child"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """How runs are executed."""
    match request.param:
        case "direct":
            return Direct()
        case "pickled":
            return Pickled()
        case _:
            return Child(request.getfixturevalue("home"), tmp_path)


@pytest.fixture(params=["direct", "pickled"])
def near(request: pytest.FixtureRequest) -> Near:
    """Ways that stay in this process: for stories that look inside a run, or whose clock must be exact."""
    return Direct() if request.param == "direct" else Pickled()
