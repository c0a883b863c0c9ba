"""`mstream plan`: what a start would do, and why; or what the last one did."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from mstream.bootstrap.survey import Lookout
from mstream.cli.arguments import ConfigOption, FileArgument, chosen_file
from mstream.cli.check import show
from mstream.cli.exits import Exit
from mstream.config.file import Loaded, load
from mstream.domain.plan import to_document
from mstream.errors import NotFound
from mstream.observability.logs import chosen_format, configure
from mstream.providers import CATALOG

_COLOURS: Final = {
    "start": typer.colors.GREEN,
    "resume": typer.colors.GREEN,
    "add": typer.colors.CYAN,
    "replace": typer.colors.CYAN,
    "stop": typer.colors.YELLOW,
    "remove": typer.colors.RED,
    "invalid": typer.colors.RED,
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    file: FileArgument = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,  # noqa: FBT002 - a flag
    last: Annotated[bool, typer.Option("--last", help="Show what the last start decided.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what a start would do and why; nothing is written."""
    configure("warn", chosen_format(os.environ))
    loaded = load(chosen_file(file, config), CATALOG, os.environ)
    if loaded.config is None:
        _tell_problems(loaded, as_json=as_json)
        raise typer.Exit(Exit.FINDINGS)
    show(loaded.problems, err=True)
    lookout = Lookout(loaded.config, CATALOG, os.environ)
    document = asyncio.run(_last(lookout) if last else _next(lookout))
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for line in lines(document):
        typer.echo(line)


async def _next(lookout: Lookout) -> Mapping[str, Any]:
    return to_document(await lookout.planned())


async def _last(lookout: Lookout) -> Mapping[str, Any]:
    report = await lookout.last_report()
    if report is None:
        message = "no start has stored its plan here yet"
        raise NotFound(message)
    return {"at": report["at"], **report["plan"]}


def _tell_problems(loaded: Loaded, *, as_json: bool) -> None:
    if as_json:
        problems = [each.as_document() for each in loaded.problems]
        print(json.dumps({"valid": False, "problems": problems}, indent=2, ensure_ascii=False))
    else:
        show(loaded.problems, err=True)


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A plan for people; coloured, which `typer.echo` takes out again where nobody sees it."""
    if "at" in document:
        yield f"the start of {document['at']}"
    yield f"startup state: {document['startup_state']}"
    yield from _table("jobs", document["actions"], ("job", "intent"))
    yield from _table("services", document["services"], ("service", "origin"))
    if document["drift"]:
        yield ""
        yield "drift:"
        for each in document["drift"]:
            yield _printable(f"  {each['kind']} {each['name']}: {each['reason']}{_changes(each)}")
    for each in document["notes"]:
        yield ""
        yield _printable(f"note: {each}")
    yield ""
    yield f"hash: {document['hash']}"


def _table(title: str, rows: Sequence[Mapping[str, Any]], keys: tuple[str, str]) -> Iterator[str]:
    """Action, name and one more column, aligned; the reason as it is long."""
    if not rows:
        return
    yield ""
    yield f"{title}:"
    columns = [[_printable(str(each[key] or "-")) for each in rows] for key in ("action", *keys)]
    widths = [max(map(len, column)) for column in columns]
    for each, *cells in zip(rows, *columns, strict=True):
        action, name, other = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        coloured = typer.style(action, fg=_COLOURS.get(each["action"]))
        yield f"  {coloured}  {name}  {other}  {_printable(each['reason'] + _changes(each))}"


def _changes(row: Mapping[str, Any]) -> str:
    changes = row.get("changes")
    return f" ({', '.join(changes)})" if changes else ""


def _printable(text: str) -> str:
    """Names come from elsewhere too: nothing in them steers a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
