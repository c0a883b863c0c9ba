"""`mstream apply`: bring the file's definitions over what is stored."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mstream.bootstrap.apply import apply as carried_out
from mstream.bootstrap.estate import Estate
from mstream.bootstrap.running_owner import RunningOwner, operator, running
from mstream.bootstrap.survey import Lookout
from mstream.cli.arguments import ConfigOption, FileArgument, UrlOption, tell
from mstream.cli.loading import loaded
from mstream.cli.plan import lines
from mstream.config.document import ConfigFile
from mstream.domain.plan import to_document
from mstream.errors import Conflict, UsageError
from mstream.providers import CATALOG


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply)


def apply(
    file: FileArgument = None,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; nothing is written.")] = False,  # noqa: FBT002 - a flag
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="HASH", help="Only if this plan, which was shown, still holds.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Take away what the file does not name.")] = False,  # noqa: FBT002 - a flag
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,  # noqa: FBT002 - a flag
    url: UrlOption = None,
) -> None:
    """Bring the file's definitions over what is stored. Operators' intents stay; nothing goes without --prune."""
    found = loaded(file, config)
    if found.system.place("job_lifecycle") is None:
        message = "the file names no store for jobs: it decides alone at every start; set [system] state to keep them"
        raise Conflict(message)
    command = _Command(found, prune=prune, url=url)
    shown = asyncio.run(command.planned())
    if not dry_run:
        if plan is None and not yes:
            _say(shown, as_json=False, err=True)
            _ask()
        shown = asyncio.run(command.done(plan or shown["hash"]))
    _say(shown, as_json=as_json)


class _Command:
    """Through the owner that runs, or without one as the owner."""

    def __init__(self, file: ConfigFile, *, prune: bool, url: str | None) -> None:
        self._file = file
        self._prune = prune
        self._url = url
        self._estate = Estate(file, catalog=CATALOG, environ=os.environ)

    async def planned(self) -> Mapping[str, Any]:
        """What would be done; nothing is written."""
        lookout = Lookout(self._file, CATALOG, os.environ)
        if owner := await running(None if self._url else await lookout.owner(), self._url, tell=tell):
            return await self._asked(owner, dry_run=True)
        return to_document(await lookout.applied(prune=self._prune))

    async def done(self, expect: str) -> Mapping[str, Any]:
        """What was done, if it is the plan with this hash."""
        if self._url and (owner := await running(None, self._url, tell=tell)):
            return await self._asked(owner, plan=expect)
        async with self._estate.found() as found:
            if owner := await running(await self._estate.owner(found), tell=tell):
                return await self._asked(owner, plan=expect)
            async with self._estate.owned(found) as lease:
                done = await carried_out(self._estate, found, lease, by=operator(), prune=self._prune, expect=expect)
                return to_document(done)

    async def _asked(self, owner: RunningOwner, **more: bool | str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await owner.ask("POST", "apply", body={"prune": self._prune, **more})
        item: Mapping[str, Any] = answer["item"]
        return item


def _say(document: Mapping[str, Any], *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for line in lines(document):
        typer.echo(line, err=err)


def _ask() -> None:
    if not sys.stdin.isatty():
        message = "nobody can be asked here; say --yes, or name the plan that was shown with --plan HASH"
        raise UsageError(message)
    typer.confirm("do this?", abort=True, err=True)
