"""Who may write after a failure."""

from __future__ import annotations

import asyncio

from mstream.providers.kafka.order import Order


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nobody_may_while_another_is_still_under_way() -> None:
    order = Order()
    order.enter()
    order.enter()
    order.give_back(1)

    assert not order.is_settled()
    order.leave()
    assert order.is_settled()


async def test_who_was_given_back_may_at_once_and_others_after_some_turns() -> None:
    order = Order()
    order.enter()
    order.give_back(1)

    async def asks() -> bool:
        return order.is_settled()

    assert order.is_settled()
    assert not await asyncio.ensure_future(asks())
    await turns(5)
    assert await asyncio.ensure_future(asks())


async def test_several_that_are_given_back_at_once_settle_too() -> None:
    order = Order()
    for _ in range(5):
        order.enter()
    for number in range(5):
        order.give_back(number)

    await turns(20)
    assert await asyncio.ensure_future(settled(order))


async def settled(order: Order) -> bool:
    return order.is_settled()


async def test_the_first_of_what_was_given_back_is_known_until_it_begins_anew() -> None:
    order = Order()
    for _ in range(3):
        order.enter()
    order.give_back(7)
    order.give_back(None)
    order.give_back(5)

    assert order.is_before_all(5)
    assert not order.is_before_all(6)
    order.begin_anew()
    assert order.is_before_all(6)
