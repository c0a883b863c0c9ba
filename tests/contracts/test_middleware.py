"""Every middleware that we ship keeps to the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contracts.middleware_checks import EVERY_MIDDLEWARE, NEEDS, SLOW

Check = Callable[[Any], Awaitable[None]]


def named(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", EVERY_MIDDLEWARE, ids=named)
async def test_a_middleware(check: Check, middleware_harness: Any) -> None:
    need = NEEDS.get(check)
    if need and not getattr(middleware_harness, need, False):
        pytest.skip(f"this kind of middleware has no such thing ({need})")

    await check(middleware_harness)


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW, ids=named)
async def test_a_middleware_with_much_to_carry(check: Check, middleware_harness: Any) -> None:
    await check(middleware_harness)
