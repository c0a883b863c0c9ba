"""`mstream key …`: make, look at, check and change the keys of stored services."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from mstream.bootstrap.keys import KeyRoom
from mstream.cli.arguments import ConfigOption, FileArgument, UrlOption
from mstream.cli.exits import Exit
from mstream.cli.loading import loaded
from mstream.control.keys import Origin
from mstream.control.rotation import KeyStatus, status_of
from mstream.control.vault import require_no_need
from mstream.errors import KeyUnusable
from mstream.providers import CATALOG
from mstream.stores import key_file

JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a command says: to people in lines, to programs as a document."""

    lines: list[str]
    document: dict[str, Any] = field(default_factory=dict)
    code: Exit = Exit.FINE


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    keys = typer.Typer(help="The keys of stored services.", no_args_is_help=True, add_completion=False)
    keys.command("generate")(generate)
    keys.command("show-id")(show_id)
    keys.command("check")(check)
    keys.command("rotate")(rotate)
    keys.command("retire")(retire)
    app.add_typer(keys, name="key")


def generate(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002 - a flag
    """Make a key file, unless a key is in use already."""
    _answer(_generated, file, config, as_json=as_json)


def show_id(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002 - a flag
    """Show which keys there are, by their ids; nothing is opened."""
    _answer(_ids, file, config, as_json=as_json)


def check(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002 - a flag
    """Show whether the keys open what is stored, and what is under which key."""
    _answer(_checked, file, config, as_json=as_json)


def rotate(
    file: FileArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
    url: UrlOption = None,
) -> None:
    """Make a new key and bring everything under it; after a crash: go on."""
    _answer(lambda room: _rotated(room, url), file, config, as_json=as_json)


def retire(
    file: FileArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
    url: UrlOption = None,
) -> None:
    """Take older keys out of the key file, once nothing is under them."""
    _answer(lambda room: _retired(room, url), file, config, as_json=as_json)


def _answer(work: Callable[[KeyRoom], Awaitable[_Answer]], file: Any, config: Any, *, as_json: bool) -> None:  # noqa: ANN401 - as typer gives them
    room = KeyRoom(loaded(file, config), CATALOG, os.environ)

    async def answered() -> _Answer:
        return await work(room)

    answer = asyncio.run(answered())
    if as_json:
        print(json.dumps(answer.document, indent=2, ensure_ascii=False))
    else:
        for line in answer.lines:
            typer.echo(line)
    raise typer.Exit(answer.code)


async def _generated(room: KeyRoom) -> _Answer:
    source = room.source
    if source.origin is not Origin.FILE:
        message = f"the keys come from {source}; there is no file to make"
        raise KeyUnusable(message)
    if room.has_store:
        async with room.shelf() as shelf:
            if not source.path.exists():
                await require_no_need(source, shelf)
            ring = key_file.create(source.path)
    else:
        ring = key_file.create(source.path)
    return _Answer(
        lines=[f"made {source.path}, key {ring.current.id}", key_file.BACKUP],
        document={"path": str(source.path), "current": ring.current.id, "advice": key_file.BACKUP},
    )


async def _ids(room: KeyRoom) -> _Answer:
    ring = await room.source.read()
    if ring is None:
        message = f"{room.source} is not there yet; make one with `mstream key generate`"
        raise KeyUnusable(message)
    lines = [f"{ring.current.id} current", *(f"{each} older" for each in ring.ids[1:])]
    document = {"source": str(room.source), "current": ring.current.id, "older": list(ring.ids[1:])}
    return _Answer(lines=lines, document=document)


async def _checked(room: KeyRoom) -> _Answer:
    async with room.vault() as vault:
        status = await status_of(vault)
    lines = [f"keys from {status.source}: {_counted(status)}"]
    if status.is_rotating:
        lines.append("not everything is under the current key: run `mstream key rotate`")
    if status.damaged:
        lines.append(f"cannot be opened: {_quoted(status.damaged)}")
    if room.source.origin is Origin.FILE:
        lines.append(key_file.BACKUP)
    is_fine = not status.is_rotating and not status.damaged
    return _Answer(lines=lines, document=status.as_document(), code=Exit.FINE if is_fine else Exit.FINDINGS)


async def _rotated(room: KeyRoom, url: str | None) -> _Answer:
    status = await room.rotate(url)
    lines = [f"everything is under the key {status.current} now: {status.under.get(status.current, 0)} services"]
    is_file = room.source.origin is Origin.FILE
    how = "take them out with `mstream key retire`" if is_file else "take them away there, once no backup needs them"
    lines.append(f"the older keys are still in {status.source}; {how}")
    if status.damaged:
        lines.append(f"cannot be opened, and stays as it is: {_quoted(status.damaged)}")
    code = Exit.FINDINGS if status.damaged else Exit.FINE
    advice = [key_file.BACKUP] if is_file else []
    return _Answer(lines=[*lines, *advice], document=status.as_document(), code=code)


async def _retired(room: KeyRoom, url: str | None) -> _Answer:
    gone, status = await room.retire(url)
    line = f"retired {', '.join(gone)}; keep them as long as there are backups under them"
    lines = [line if gone else "there is no older key", key_file.BACKUP]
    return _Answer(lines=lines, document={"retired": list(gone), **status.as_document()})


def _counted(status: KeyStatus) -> str:
    ids = dict.fromkeys([status.current, *status.older, *status.under])
    kinds = {status.current: "current", **dict.fromkeys(status.older, "older")}
    return ", ".join(f"{each} ({kinds.get(each, 'unknown')}) {status.under.get(each, 0)} services" for each in ids)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
