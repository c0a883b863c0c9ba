"""`mstream services …`: test the services of a file."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated, Final

import typer

from mstream.cli.arguments import ConfigOption, FileArgument
from mstream.cli.exits import Exit
from mstream.cli.loading import loaded
from mstream.control.probing import ServiceTest, probe_service
from mstream.ports.probe import Outcome
from mstream.providers import CATALOG

_COLOURS: Final = {
    Outcome.OK: typer.colors.GREEN,
    Outcome.WARNING: typer.colors.YELLOW,
    Outcome.FAILED: typer.colors.RED,
    Outcome.SKIPPED: typer.colors.BRIGHT_BLACK,
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    services = typer.Typer(help="The services of a file.", no_args_is_help=True, add_completion=False)
    services.callback()(_group)
    services.command("test")(probed)
    app.add_typer(services, name="services")


def _group() -> None:
    """The services of a file."""


def probed(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The service's name in the file.")],
    file: FileArgument = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show whether a service can be reached and used, and what to do if not; nothing is written there."""
    service = loaded(file, config).service(name)
    answer = asyncio.run(probe_service(service, CATALOG, os.environ))
    if as_json:
        print(json.dumps(answer.as_document(), indent=2, ensure_ascii=False))
    else:
        _show(answer)
    raise typer.Exit(Exit.FINE if answer.is_fine else Exit.FINDINGS)


def _show(answer: ServiceTest) -> None:
    typer.echo(f"service {answer.name!r} ({answer.provider})")
    width = max((len(each.name) for each in answer.steps), default=0)
    for each in answer.steps:
        outcome = typer.style(f"{each.outcome.value:<7}", fg=_COLOURS[each.outcome])
        typer.echo(f"  {each.name:<{width}}  {outcome}  {each.detail}".rstrip())
        if each.advice:
            typer.echo(f"  {'':<{width}}  {'':<7}  -> {each.advice}")
