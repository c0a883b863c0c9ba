"""A script, opened the way a run opens it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from mstream.domain.connector import MiddlewareRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Middleware
from mstream.providers.udf import PROVIDER

OpenScript = Callable[..., Awaitable[Middleware]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[OpenScript]:
    """Opens a script of this text, or the named one, with these options."""
    async with AsyncExitStack() as stack:

        async def opening(
            text: str | None = None,
            *,
            resource: str = "script.py",
            service: dict[str, Any] | None = None,
            **options: Any,
        ) -> Middleware:
            if text is not None:
                (tmp_path / resource).write_text(dedent(text), encoding="utf-8")
            settings = {"name": "scripts", "script_path": str(tmp_path), "engine": {"kind": "python"}} | (service or {})
            config = PROVIDER.config.model_validate(settings)
            ref = MiddlewareRef.model_validate({"service_name": "scripts", "resource": resource, **options})
            role = PROVIDER.middleware
            assert role is not None
            live = await stack.enter_async_context(PROVIDER.connect(config))
            return await stack.enter_async_context(role.open(live, ref, role_options(role.options, config, ref)))

        yield opening
