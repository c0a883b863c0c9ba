"""PROVIDER: the udf descriptor; scripts of the user's as middlewares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mstream.domain.connector import MiddlewareRef
from mstream.ports.provider import MiddlewareRole, Provider
from mstream.ports.roles import Middleware
from mstream.providers.udf.config import UdfConfig, UdfOptions, unavailable

if TYPE_CHECKING:
    from mstream.providers.udf.service import UdfService


@asynccontextmanager
async def _connect(config: UdfConfig) -> AsyncIterator[UdfService]:
    from mstream.providers.udf.service import UdfService  # noqa: PLC0415 - a provider is listed without its machinery

    yield UdfService(config)


@asynccontextmanager
async def _open(service: UdfService, ref: MiddlewareRef, options: UdfOptions) -> AsyncIterator[Middleware]:
    yield service.middleware(ref, options)


def _pinned(config: UdfConfig, resources: Sequence[str]) -> UdfConfig:
    from mstream.providers.udf.service import pinned  # noqa: PLC0415 - a provider is listed without its machinery

    return pinned(config, resources)


PROVIDER: Provider[UdfConfig, UdfService] = Provider(
    name="udf",
    config=UdfConfig,
    connect=_connect,
    middleware=MiddlewareRole(open=_open, options=UdfOptions),
    unavailable=unavailable,
    pinned=_pinned,
)
