"""`mstream checkpoints …`: see where jobs stand and stood, and put one elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, TypeVar

import typer

from mstream.bootstrap.checkpoints import CheckpointRoom
from mstream.bootstrap.running_owner import operator, running
from mstream.cli.arguments import ConfigOption, UrlOption, tell
from mstream.cli.exits import Exit
from mstream.cli.loading import loaded
from mstream.control.checkpoints import to_document
from mstream.domain.checkpoint import Begin, Checkpoint, Waypoint, waypoint
from mstream.domain.plan import Damaged
from mstream.domain.reset import Target, ToBegin, ToWaypoint, described, positions_of, to_body
from mstream.errors import UsageError
from mstream.providers import CATALOG

T = TypeVar("T")

#: How much of a position is shown to people.
_WIDTH = 100

NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The job.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    checkpoints = typer.Typer(help="Where jobs stand, and stood.", no_args_is_help=True, add_completion=False)
    checkpoints.command("list")(list_)
    checkpoints.command("show")(show)
    checkpoints.command("reset")(reset)
    app.add_typer(checkpoints, name="checkpoints")


def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002 - a flag
    """Show where every job stands; nothing is written."""
    found, damaged = _done(_everything(_room(config)))
    if as_json:
        shown = [{"job": each.job, **to_document(waypoint(each))} for each in found]
        print(_json({"checkpoints": shown, "damaged": [{"job": each.name, "reason": each.reason} for each in damaged]}))
    else:
        for each in found:
            typer.echo(f"{each.job}  {_line(to_document(waypoint(each)))}")
        if not found and not damaged:
            tell("there are no checkpoints: no job has saved where it stands yet")
        for broken in damaged:
            typer.echo(f"cannot be used and stays as it is: {broken.reason}", err=True)
    if damaged:
        raise typer.Exit(Exit.FINDINGS)


def show(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002 - a flag
    """Show where a job stands and where it stood before; nothing is written."""
    places = _done(_places(_room(config), name))
    if as_json:
        print(_json({"job": name, "entries": [to_document(each) for each in places]}))
        return
    for each in places:
        typer.echo(f"{each.sequence}  {_line(to_document(each))}")


def reset(  # noqa: PLR0913, PLR0917 - an argument for each option
    name: NameArgument,
    config: ConfigOption = None,
    to_entry: Annotated[int | None, typer.Option(metavar="N", help="To an entry that `show` has listed.")] = None,
    to_beginning: Annotated[bool, typer.Option("--to-beginning", help="To the source's beginning.")] = False,  # noqa: FBT002 - a flag
    to_now: Annotated[bool, typer.Option("--to-now", help="To what comes after the next start.")] = False,  # noqa: FBT002 - a flag
    to_position: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="To these positions, by lane; lanes left out begin as the source says."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002 - a flag
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
    url: UrlOption = None,
) -> None:
    """Put a job elsewhere that does not run; without a place it begins as its source's options say."""
    target = chosen_target(to_entry=to_entry, to_beginning=to_beginning, to_now=to_now, to_position=to_position)
    room = _room(config)
    if not yes:
        _ask(f"put job {name!r} {described(target)}? It may deliver records again, or pass some over")
    place = _done(_reset(room, name, target, url))
    if as_json:
        print(_json({"job": name, **place}))
    else:
        typer.echo(f"{name}  {_line(place)}")


def chosen_target(*, to_entry: int | None, to_beginning: bool, to_now: bool, to_position: str | None) -> Target:
    """What the options say. Raises UsageError when they name two places, or a position that is none."""
    targets: list[Target] = []
    if to_entry is not None:
        targets.append(ToWaypoint(number=to_entry))
    if to_beginning:
        targets.append(ToBegin(begin=Begin.BEGINNING))
    if to_now:
        targets.append(ToBegin(begin=Begin.NOW))
    if to_position is not None:
        targets.append(positions_of(to_position))
    if len(targets) > 1:
        message = "name one place: --to-entry, --to-beginning, --to-now or --to-position"
        raise UsageError(message)
    return targets[0] if targets else ToBegin()


async def _everything(room: CheckpointRoom) -> tuple[list[Checkpoint], list[Damaged]]:
    async with room.looking() as checkpoints:
        return await checkpoints.everything()


async def _places(room: CheckpointRoom, name: str) -> list[Waypoint]:
    async with room.looking() as checkpoints:
        return await checkpoints.of(name)


async def _reset(room: CheckpointRoom, name: str, target: Target, url: str | None) -> Mapping[str, Any]:
    """By the owner that runs, or without one as the owner."""
    if owner := await running(None if url else await room.owner(), url, tell=tell):
        body = to_body(target)
        answer = await owner.ask("PUT" if body else "DELETE", "jobs", name, "checkpoints", body=body or None)
        place: Mapping[str, Any] = answer["item"]
        return place
    async with room.changing(name) as (checkpoints, connector):
        return to_document(waypoint(await checkpoints.reset(connector, target, by=operator())))


def _room(config: Any) -> CheckpointRoom:  # noqa: ANN401 - as typer gives it
    return CheckpointRoom(loaded(None, config), CATALOG, os.environ)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        message = "nobody can be asked here; say --yes"
        raise UsageError(message)
    typer.confirm(question, abort=True, err=True)


def _done(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _line(place: Mapping[str, Any]) -> str:
    parts = [place["saved_at"] or "-", _positions(place)]
    if "by" in place:
        parts.append(f"by {place['by']['who']}: {place['reason']}")
    return "  ".join(parts)


def _positions(place: Mapping[str, Any]) -> str:
    positions = place["positions"]
    if not positions:
        return str(place.get("begin", "no position"))
    text = json.dumps(positions, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}… ({len(positions)} lanes)"


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
