"""One live object per definition, as long as somebody uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mstream.errors import SecretUnavailable, ServiceNotFound, Unreachable
from mstream.foundation.secrets import Secret
from mstream.ports.provider import Provider
from mstream.runtimes.services import SharedServices
from tests.unit.runtimes.stand_in import CATALOG, Live, StandInConfig


def config(password: str = "p") -> StandInConfig:
    return StandInConfig(name="svc", password=Secret(password))


async def test_runs_with_the_same_definition_share_one_object_until_the_last_has_ended() -> None:
    async with asyncio.TaskGroup() as group:
        shared = SharedServices(CATALOG, group=group)
        one, two = shared.of_run({"svc": config()}), shared.of_run({"svc": config()})
        live = await one.live("svc")

        assert await two.live("svc") is live
        await one.close()
        assert not live.closed
        await two.close()
        assert live.closed


async def test_a_run_that_asks_twice_counts_once() -> None:
    async with asyncio.TaskGroup() as group:
        services = SharedServices(CATALOG, group=group).of_run({"svc": config()})
        live = await services.live("svc")

        assert await services.live("svc") is live
        await services.close()
        assert live.closed


async def test_a_changed_definition_is_opened_anew() -> None:
    async with asyncio.TaskGroup() as group:
        shared = SharedServices(CATALOG, group=group)
        one, two = shared.of_run({"svc": config("old")}), shared.of_run({"svc": config("new")})

        assert await one.live("svc") is not await two.live("svc")
        await one.close()
        await two.close()


async def test_references_are_resolved_for_the_client_alone() -> None:
    async with asyncio.TaskGroup() as group:
        shared = SharedServices(CATALOG, group=group, environ={"PASSWORD": "from outside"})
        services = shared.of_run({"svc": config("env:PASSWORD")})
        live = await services.live("svc")
        await services.close()

    assert live.config.password == Secret("from outside")
    assert services.config("svc") == config("env:PASSWORD")


async def test_a_reference_to_nothing_fails_the_run_that_needs_it_and_can_be_tried_again() -> None:
    environ: dict[str, str] = {}
    async with asyncio.TaskGroup() as group:
        shared = SharedServices(CATALOG, group=group, environ=environ)
        first = shared.of_run({"svc": config("env:LATER")})
        with pytest.raises(SecretUnavailable, match="LATER"):
            await first.live("svc")
        await first.close()
        environ["LATER"] = "there"
        second = shared.of_run({"svc": config("env:LATER")})

        assert (await second.live("svc")).config.password == Secret("there")
        await second.close()


async def test_a_service_that_nobody_defined_is_named() -> None:
    async with asyncio.TaskGroup() as group:
        services = SharedServices(CATALOG, group=group).of_run({"svc": config()})

        with pytest.raises(ServiceNotFound, match=r"'other' is not defined; defined are svc"):
            services.config("other")


async def test_a_run_that_gives_up_while_a_service_opens_leaves_nothing_open() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(settings: StandInConfig) -> AsyncIterator[Live]:
        try:
            entered.set()
            await asyncio.Event().wait()
            yield Live(settings)
        finally:
            left.set()

    catalog = (Provider(name="stand_in", config=StandInConfig, connect=slow),)
    async with asyncio.TaskGroup() as group:
        services = SharedServices(catalog, group=group).of_run({"svc": config()})
        opening = group.create_task(services.live("svc"))
        await entered.wait()
        opening.cancel()
        await services.close()

        assert left.is_set()


async def test_an_error_while_closing_ends_no_run() -> None:
    @asynccontextmanager
    async def connect(settings: StandInConfig) -> AsyncIterator[Live]:
        yield Live(settings)
        message = "the goodbye was not heard"
        raise Unreachable(message)

    catalog = (Provider(name="stand_in", config=StandInConfig, connect=connect),)
    async with asyncio.TaskGroup() as group:
        services = SharedServices(catalog, group=group).of_run({"svc": config()})
        live = await services.live("svc")
        await services.close()

    assert not live.closed
