"""A run that is aborted in any turn of the loop leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.unit.engine.rebalances import Membership
from tests.unit.engine.scripted import RememberingOwner
from tests.virtual import run

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("turns", range(12))
def test_nothing_that_was_not_begun_is_left_over(turns: int) -> None:
    member = Membership(RememberingOwner())

    async def story() -> None:
        async with member.running() as task:
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}
            # Raises what Python says of coroutines that nobody has awaited.
            gc.collect()
            raise _Enough

    with pytest.raises(_Enough):
        run(story())


class _Enough(Exception):
    """The run is over: there is nothing to drain."""
