"""Every sink that we ship keeps to the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contracts.sink_checks import EVERY_SINK, NEEDS, REPEATABLE, SLOW, TRANSACTIONAL

pytestmark = pytest.mark.any_kafka

Check = Callable[[Any], Awaitable[None]]


def named(check: Check) -> str:
    return check.__name__.removeprefix("check_")


def skip_without(harness: Any, need: str | None) -> None:
    if need and not getattr(harness, need, False):
        pytest.skip(f"this kind of sink has no such thing ({need})")


@pytest.mark.parametrize("check", EVERY_SINK, ids=named)
async def test_a_sink(check: Check, sink_harness: Any) -> None:
    skip_without(sink_harness, NEEDS.get(check))

    await check(sink_harness)


@pytest.mark.parametrize("check", TRANSACTIONAL, ids=named)
async def test_a_transactional_sink(check: Check, transactional_harness: Any) -> None:
    skip_without(transactional_harness, NEEDS.get(check))

    await check(transactional_harness)


@pytest.mark.parametrize("check", REPEATABLE, ids=named)
async def test_a_sink_that_writes_by_key(check: Check, keyed_harness: Any) -> None:
    await check(keyed_harness)


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW, ids=named)
async def test_a_sink_with_much_to_carry(check: Check, capable_harness: Any) -> None:
    await check(capable_harness)
