"""Whether the page on the API names every route that there is, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from starlette.routing import Route

from mstream.api.app import application

#: Headings such as "### `GET /jobs/{name}`".
_HEADING: Final = re.compile(r"^#+ (.*`[A-Z]+ /.*)$", re.MULTILINE)
_ROUTE: Final = re.compile(r"`([A-Z]+) (/[^`?]*)`")


class _Anything:
    """Stands where handlers would find the program; none is called here."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return self


def problems(text: str) -> Iterator[str]:
    """Routes without a heading, and headings without a route."""
    told = {found for heading in _HEADING.findall(text) for found in _ROUTE.findall(heading)}
    there = set(routes())
    for method, path in sorted(there - told):
        yield f"docs/reference/api.md does not tell of `{method} {path}`"
    for method, path in sorted(told - there):
        yield f"docs/reference/api.md tells of `{method} {path}`, which is not there"


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route."""
    stand_in = cast("Any", _Anything())
    for each in application(stand_in, stand_in).routes:
        if isinstance(each, Route):
            yield from ((method, each.path) for method in each.methods or () if method != "HEAD")
