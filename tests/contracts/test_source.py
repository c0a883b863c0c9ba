"""Every source that we ship keeps to the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.contracts.source_checks import EVERY_SOURCE, NEEDS, SLOW, SourceHarness

Check = Callable[[SourceHarness], Awaitable[None]]


def named(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", EVERY_SOURCE, ids=named)
async def test_a_source(check: Check, source_harness: SourceHarness) -> None:
    need = NEEDS.get(check)
    if need and not getattr(source_harness, need):
        pytest.skip(f"this kind of source has no such thing ({need})")

    await check(source_harness)


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW, ids=named)
async def test_a_source_with_much_to_carry(check: Check, source_harness: SourceHarness) -> None:
    await check(source_harness)
