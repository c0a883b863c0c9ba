"""What a worker is told before anything else: where its code is and what it runs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Where everybody's providers and engine are.
CATALOG = "mstream.providers:CATALOG"
ENGINE = "mstream.engine.run:run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message on a worker's socket; texts only, so that it can be read before any import."""

    #: As in the owner: what it can import its workers can.
    import_path: Sequence[str] = ()
    #: `module:name` of the catalog and of the function that runs a run.
    catalog: str = CATALOG
    run: str = ENGINE


def named(place: str) -> Any:  # noqa: ANN401 - whatever stands there
    """The object at `module:name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
