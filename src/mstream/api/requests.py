"""What handlers read out of a request: who asks, for how long they wait, what they send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request

from mstream.domain.audit import Actor
from mstream.domain.orders import SnapshotOrder
from mstream.errors import UsageError

#: Seconds that a client may wait for a state.
_LONGEST_WAIT: Final = 300.0
#: Who a client says that it acts for; believed, since only this machine is served.
_ACTOR: Final = "mstream-actor"
_LONGEST_NAME: Final = 100


def actor_of(request: Request) -> Actor:
    """Who asks, and from where; a name is percent-encoded UTF-8, since headers carry no other letters."""
    who = "".join(filter(str.isprintable, unquote(request.headers.get(_ACTOR, "")))).strip()[:_LONGEST_NAME]
    return Actor(who=who or "api", where=request.client.host if request.client else "")


def name_of(request: Request) -> str:
    """The job or service that the path names; the path is matched as it was sent, so that a name may hold a slash."""
    return unquote(str(request.path_params["name"]))


def wait_of(request: Request) -> float:
    """Seconds to wait for the state that is asked for. Raises UsageError."""
    text = request.query_params.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or not 0 <= seconds <= _LONGEST_WAIT:
        message = f"wait must be a number of seconds from 0 to {_LONGEST_WAIT:g}"
        raise UsageError(message)
    return seconds


def flag_of(request: Request, name: str) -> bool:
    """A switch in the query. Raises UsageError."""
    text = request.query_params.get(name, "false").lower()
    if text not in {"true", "false"}:
        message = f"{name} must be true or false"
        raise UsageError(message)
    return text == "true"


def expected_of(request: Request) -> str | None:
    """The revision that the client has seen, out of `If-Match`; None: it does not say."""
    tag = request.headers.get("if-match")
    return None if tag is None or tag.strip() == "*" else tag.strip().removeprefix("W/").strip('"')


async def table_of(request: Request) -> Mapping[str, Any]:
    """The body, a JSON object; an empty one where there is no body. Raises UsageError."""
    text = await request.body()
    if not text:
        return {}
    try:
        body = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        message = "the body is not JSON"
        raise UsageError(message) from None
    if not isinstance(body, dict):
        message = "the body must be a JSON object"
        raise UsageError(message)
    return body


def snapshot_order_of(body: Mapping[str, Any]) -> SnapshotOrder:
    """What is to be read once more: a `collection`, a `filter`, both, or all there is. Raises UsageError."""
    if strange := body.keys() - {"collection", "filter"}:
        message = f"unknown keys {', '.join(sorted(map(repr, strange)))}; there are collection and filter"
        raise UsageError(message)
    collection, chosen = body.get("collection"), body.get("filter")
    if collection is not None and (not isinstance(collection, str) or not collection):
        message = "collection must be a name"
        raise UsageError(message)
    if chosen is not None and not isinstance(chosen, dict):
        message = 'filter must be a JSON object, as in {"state": "paid"}'
        raise UsageError(message)
    return SnapshotOrder(collection=collection or "", filter=json.dumps(chosen) if chosen else "")


def _no_number(text: str) -> Any:  # noqa: ANN401 - as json wants it
    message = f"{text} is no JSON"
    raise ValueError(message)
