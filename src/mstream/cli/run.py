"""`mstream run`: move records until a signal, or until there is nothing left to move."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from mstream.bootstrap.program import Options, Program
from mstream.cli.arguments import ConfigOption, FileArgument, chosen_file
from mstream.cli.check import show
from mstream.cli.exits import Exit
from mstream.config.document import ConfigFile
from mstream.config.file import load
from mstream.control.preview import preview
from mstream.observability.logs import chosen_format, chosen_level, configure
from mstream.providers import CATALOG

#: Records that --dry-run shows of each job, and seconds without a new one after which it looks no longer.
_SHOWN = 10
_QUIET_SEC = 2.0
_FAIL_FAST = "End when a store is away, or, with --until-idle, once a job failed."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    file: FileArgument = None,
    config: ConfigOption = None,
    until_idle: Annotated[
        float | None,
        typer.Option(
            "--until-idle",
            min=0,
            metavar="SECONDS",
            help="End once nothing new came for so long; a job that is tried again is waited for.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the first records; write nothing.")] = False,  # noqa: FBT002 - a flag
    records: Annotated[int, typer.Option("--records", min=1, help="How many records --dry-run shows.")] = _SHOWN,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help=_FAIL_FAST)] = False,  # noqa: FBT002 - a flag
    log_level: Annotated[str | None, typer.Option("--log-level", help="error, warn, info or debug.")] = None,
) -> None:
    """Run the jobs of a file, until a signal comes or nothing is left to do."""
    level = chosen_level(log_level, os.environ)
    configure(level, chosen_format(os.environ))
    path = chosen_file(file, config)
    loaded = load(path, CATALOG, os.environ)
    show(loaded.problems, err=True)
    if loaded.config is None:
        raise typer.Exit(Exit.FINDINGS)
    if dry_run:
        work = preview(
            loaded.config,
            CATALOG,
            records=records,
            quiet_sec=_QUIET_SEC if until_idle is None else until_idle,
            write=_print_line,
        )
    else:
        work = _run(path, loaded.config, Options(until_idle=until_idle, log_level=level, fail_fast=fail_fast))
    raise typer.Exit(asyncio.run(work))


async def _run(path: Path, file: ConfigFile, options: Options) -> int:
    program = Program(file, options, path=path)
    with _status_lines(program):
        return await program.run()


def _status_lines(program: Program) -> AbstractContextManager[object]:
    """On a terminal a line per job shows how it goes; elsewhere the log tells."""
    if not sys.stderr.isatty():
        return nullcontext()
    from mstream.cli.status import StatusLines  # noqa: PLC0415 - Rich is loaded where there is a terminal

    return StatusLines(program.manager)


def _print_line(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # Whoever reads has seen enough (`… | head`); the rest goes nowhere, and that is no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
