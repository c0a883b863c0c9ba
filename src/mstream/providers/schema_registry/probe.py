"""Test of a schema registry, step by step: settings, connection, authentication, subjects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mstream.errors import AccessDenied, MstreamError, Unreachable
from mstream.ports.probe import Outcome, ProbeStep

from .config import SchemaRegistryConfig
from .service import SchemaRegistry, connect

_NAMES: Final = ("settings", "connection", "authentication", "subjects")
_ADVICE: Final = {
    "settings": "correct the tls_… fields",
    "connection": "is the registry running, is 'url' right, does a firewall stand between?",
    "authentication": "check username and password, or the token, and what they may do; or trust its certificate",
    "subjects": "name the root of the registry's API, of Apicurio with /apis/ccompat/v7",
}


async def probe(config: SchemaRegistryConfig) -> Sequence[ProbeStep]:
    """Each step in turn; what comes after one that has failed is not tried. Never raises for what it finds."""
    try:
        async with connect(config) as live:
            return await _asked(live)
    except MstreamError as error:
        return _steps("settings", str(error))


async def _asked(live: SchemaRegistry) -> Sequence[ProbeStep]:
    try:
        count = len(await live.subjects())
    except Unreachable as error:
        return _steps("connection", str(error))
    except AccessDenied as error:
        return _steps("authentication", str(error))
    except MstreamError as error:
        return _steps("subjects", str(error))
    return [
        *(ProbeStep(name=each, outcome=Outcome.OK) for each in _NAMES[:-1]),
        ProbeStep(name=_NAMES[-1], outcome=Outcome.OK, detail=f"{count} subjects"),
    ]


def _steps(failed: str, detail: str) -> Sequence[ProbeStep]:
    place = _NAMES.index(failed)
    return [
        *(ProbeStep(name=each, outcome=Outcome.OK) for each in _NAMES[:place]),
        ProbeStep(name=failed, outcome=Outcome.FAILED, detail=detail, advice=_ADVICE[failed]),
        *(ProbeStep(name=each, outcome=Outcome.SKIPPED) for each in _NAMES[place + 1 :]),
    ]
