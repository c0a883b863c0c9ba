"""Which places on this machine's disk a definition from the API may name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mstream.config.problems import Code, Finding
from mstream.domain.service import ServiceConfig

_IN_THE_FILE = "or put the service into the file"


def place_findings(config: ServiceConfig, allowed: Iterable[str], reserved: Mapping[str, str]) -> Iterator[Finding]:
    """What it may not name. `allowed`: folders; `reserved`: what nobody else may write, by what it is.

    Links are followed as they lie now; what is there may be made or moved later by whoever has the machine.
    """
    folders = [_real(each) for each in allowed]
    own = {what: _real(path) for what, path in reserved.items()}
    for field, text in config.paths():
        place = _real(text)
        if not any(place.is_relative_to(each) for each in folders):
            message = "it lies outside of the folders that definitions from the API may use"
            advice = f"list its folder in [system.api] allowed_paths, {_IN_THE_FILE}"
            yield Finding(path=(field,), code=Code.BAD_VALUE, message=message, suggestion=advice)
            continue
        for what, path in own.items():
            # A folder that holds it is as bad as the place itself.
            if place.is_relative_to(path) or path.is_relative_to(place):
                message = f"{what} is in the same place: whoever writes there decides what mstream does"
                advice = f"choose a folder apart from it, {_IN_THE_FILE}"
                yield Finding(path=(field,), code=Code.BAD_VALUE, message=message, suggestion=advice)


def _real(text: str) -> Path:
    # No system can open what has a NUL in it.
    return Path(os.path.realpath(text.replace("\0", "")))
