"""PROVIDER: the http descriptor; it is described so that files can be checked, and cannot run yet."""

from __future__ import annotations

from typing import Any, NoReturn

from mstream.ports.provider import MiddlewareRole, Provider, SinkRole, not_built

from .config import HttpConfig


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("http")


PROVIDER: Provider[HttpConfig, Any] = Provider(
    name="http",
    config=HttpConfig,
    connect=_unbuilt,
    sink=SinkRole(open=_unbuilt),
    middleware=MiddlewareRole(open=_unbuilt),
    extra="http",
    built=False,
)
