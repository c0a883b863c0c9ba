"""`mstream jobs …`: what the jobs of a running program are asked for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mstream.bootstrap.running_owner import running
from mstream.bootstrap.survey import Lookout
from mstream.cli.arguments import ConfigOption, UrlOption, tell
from mstream.cli.loading import loaded
from mstream.errors import Unavailable, UsageError
from mstream.providers import CATALOG

CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection", metavar="NAME", help="One collection of those that the job reads, as `orders` or `shop.orders`."
    ),
]
FilterOption = Annotated[
    str | None, typer.Option("--filter", metavar="JSON", help="Only the documents that this query of MongoDB finds.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    jobs = typer.Typer(help="What running jobs are asked for.", no_args_is_help=True, add_completion=False)
    jobs.callback()(_group)
    jobs.command("snapshot")(snapshot)
    app.add_typer(jobs, name="jobs")


def _group() -> None:
    """What running jobs are asked for."""


def snapshot(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The job.")],
    config: ConfigOption = None,
    collection: CollectionOption = None,
    chosen: FilterOption = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Read no further what was asked for.")] = False,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,  # noqa: FBT002 - a flag
    url: UrlOption = None,
) -> None:
    """Have a job that runs read once more what is there, beside what happens."""
    body = wanted(collection, chosen)
    if cancel and body:
        message = "--cancel takes no other choice: one snapshot is under way at most"
        raise UsageError(message)
    lookout = Lookout(loaded(None, config), CATALOG, os.environ)
    answer = asyncio.run(_asked(lookout, name, None if cancel else body, url))
    if as_json:
        print(json.dumps(answer["item"], indent=2, ensure_ascii=False))
    else:
        typer.echo(answer["message"])


def wanted(collection: str | None, chosen: str | None) -> dict[str, Any]:
    """The body of the request. Raises UsageError for a filter that is no JSON object."""
    body: dict[str, Any] = {} if collection is None else {"collection": collection}
    if chosen is not None:
        try:
            body["filter"] = json.loads(chosen)
        except ValueError:
            body["filter"] = None
        if not isinstance(body["filter"], dict):
            message = """--filter must be a JSON object, as in '{"state": "paid"}'"""
            raise UsageError(message)
    return body


async def _asked(lookout: Lookout, name: str, body: Mapping[str, Any] | None, url: str | None) -> Mapping[str, Any]:
    """None: cancelled. Only the program that runs can do it."""
    owner = await running(None if url else await lookout.owner(), url, tell=tell)
    if owner is None:
        message = f"no program runs on this machine that owns the store, so job {name!r} does not run; start it first"
        raise Unavailable(message)
    answer: Mapping[str, Any]
    if body is None:
        answer = await owner.ask("DELETE", "jobs", name, "snapshot")
    else:
        answer = await owner.ask("POST", "jobs", name, "snapshot", body=body)
    return answer
