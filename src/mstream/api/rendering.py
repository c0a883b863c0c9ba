"""Answers that are long: made in a thread and in small pieces, so that nobody has to wait for them meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

#: Levels that are taken apart: a list, or an object of lists.
_LEVELS: Final = 2


async def rendered(make: Callable[[], Any]) -> Response:
    """What `make` gives, as JSON. It runs in a thread: it may only look at what nobody changes."""
    text = await asyncio.to_thread(lambda: _text(make(), _LEVELS))
    return Response(text, media_type="application/json")


def _text(value: Any, levels: int) -> str:  # noqa: ANN401 - any JSON
    """One call of `json` holds everybody up for as long as it takes: none of them gets more than one element."""
    match value:
        case dict() if levels:
            return "{" + ",".join(f"{json.dumps(key)}:{_text(each, levels - 1)}" for key, each in value.items()) + "}"
        case list() if levels:
            return "[" + ",".join(_text(each, 0) for each in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
