"""The command line: one module per group of commands, no logic of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

from mstream import __version__
from mstream.cli.exits import Exit, exit_of
from mstream.errors import MstreamError

#: What may stand before a command; anything else that begins with a dash belongs to `run`.
_OWN_OPTIONS: Final = frozenset({"--help", "--version", "--install-completion", "--show-completion"})

#: The module of each command, in the order in which they are listed. It is imported when it is asked for: some need
#: what takes a second to import.
_MODULES: Final[Mapping[str, str]] = {
    "check": "check",
    "schema": "check",
    "init": "check",
    "run": "run",
    "plan": "plan",
    "apply": "apply",
    "key": "key",
    "jobs": "jobs",
    "checkpoints": "checkpoints",
    "services": "services",
    "export": "transfer",
    "import": "transfer",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; answers its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in _OWN_OPTIONS):
        given.insert(0, "run")
    try:
        application(given[0])(args=given, prog_name="mstream")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.FINE
    except MstreamError as error:
        typer.echo(f"{typer.style('error', fg=typer.colors.RED)}[{error.code}]: {error}", err=True)
        return exit_of(error)
    return Exit.FINE


def application(command: str = "") -> typer.Typer:
    """One command, or all of them where it is none. Tracebacks are Python's own: others show values of variables."""
    app = typer.Typer(
        name="mstream",
        help="A streaming bridge with durable state. Without a command it runs ./mstream-config.toml.",
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_options)
    modules = [_MODULES[command]] if command in _MODULES else dict.fromkeys(_MODULES.values())
    for each in modules:
        import_module(f"mstream.cli.{each}").register(app)
    return app


def _options(
    *,
    shown: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda value: _version(show=value), help="Print it.")
    ] = False,
) -> None:
    """A streaming bridge with durable state. Without a command it runs ./mstream-config.toml."""


def _version(*, show: bool) -> None:
    if show:
        typer.echo(f"mstream {__version__}")
        raise typer.Exit
