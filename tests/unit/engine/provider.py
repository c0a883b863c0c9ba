"""The provider of scripted parts: a service's live object is the part itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from mstream.domain.service import ServiceConfig
from mstream.ports.provider import MiddlewareRole, Provider, SinkRole, SourceRole
from mstream.ports.roles import Lanes

#: A part may be a catalog of schemas too.
SCHEMAS: Callable[[Any], Any] | None = lambda live: live  # noqa: E731 - one of the provider's functions


class ScriptedConfig(ServiceConfig):
    """One part; in another process `part` is the file that it is sent in."""

    provider: Literal["scripted"] = "scripted"
    part: str = ""


def provider_on(
    parts: Mapping[str, Any] | Callable[[ScriptedConfig], AbstractAsyncContextManager[Any]],
) -> Provider[ScriptedConfig, Any]:
    """The descriptor; the parts by service, or what opens them."""
    connect = parts if callable(parts) else lambda config: _opened(parts[config.name])
    return Provider(
        name="scripted",
        config=ScriptedConfig,
        connect=connect,
        source=SourceRole(
            open=lambda live, ref, options, resume, lanes: _resumed(live, resume, lanes),
            fingerprint=lambda config, ref, options: "scripted",
        ),
        sink=SinkRole(open=lambda live, ref, options: _opened(live)),
        middleware=MiddlewareRole(open=lambda live, ref, options: _opened(live)),
        schemas=SCHEMAS,
        schema_name=_schema_name,
    )


def _schema_name(resource: str, /, *, is_key: bool = False) -> str:
    return f"{resource}-{'key' if is_key else 'value'}"


class OpenServices:
    """The engine's `Services` of one provider; what is opened stays so until the stack is closed."""

    def __init__(
        self, provider: Provider[Any, Any], configs: Mapping[str, ServiceConfig], stack: AsyncExitStack
    ) -> None:
        self._provider = provider
        self._configs = configs
        self._stack = stack
        self._live: dict[str, Any] = {}

    def config(self, name: str) -> ServiceConfig:
        return self._configs[name]

    def provider(self, name: str) -> Provider[Any, Any]:
        return self._provider

    async def live(self, name: str) -> Any:
        if name not in self._live:
            self._live[name] = await self._stack.enter_async_context(self._provider.connect(self._configs[name]))
        return self._live[name]


@asynccontextmanager
async def _opened(live: Any) -> AsyncIterator[Any]:
    yield live


@asynccontextmanager
async def _resumed(source: Any, resume: Any, lanes: Lanes) -> AsyncIterator[Any]:
    source.lanes = lanes
    source.begin(resume.positions)
    yield source
