"""The simulation would notice: each owner that is wrong in one way breaks a promise in one of the usual stories."""

from __future__ import annotations

import pytest

from tests.persistence.simulation import lived
from tests.persistence.twins import TWINS

STORIES = 200


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", TWINS)
def test_a_wrong_twin_is_caught(name: str) -> None:
    assert any(lived(seed, TWINS[name]).violations for seed in range(STORIES))
