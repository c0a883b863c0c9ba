"""Two or three owners over one store, frozen, cut off, killed, their clocks stepped: nothing that is promised breaks.

MSTREAM_SIMULATIONS=2000 lives through so many stories; a story that breaks a promise says how to be told again.
"""

from __future__ import annotations

import os

import pytest

from tests.persistence.simulation import lived

STORIES = int(os.environ.get("MSTREAM_SIMULATIONS", "200"))
PARTS = 10


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_befalls_the_owners_of_a_store_every_promise_holds(part: int) -> None:
    for seed in range(part, STORIES, PARTS):
        found = lived(seed).violations
        assert not found, f"{found[0]}; to be told it: python -m tests.persistence.simulation {seed}"


@pytest.mark.usefixtures("quiet")
def test_a_seed_tells_one_story() -> None:
    def events(seed: int) -> list[str]:
        return [each.partition("run ")[0] for each in lived(seed).told]

    assert events(7) == events(7)
    assert events(7) != events(8)
