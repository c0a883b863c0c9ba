"""The configuration file, as every command takes it: as an argument or as `--config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mstream.errors import UsageError

DEFAULT_FILE: Final = Path("mstream-config.toml")

FileArgument = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", show_default=False, help="The configuration file.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help=f"The same; without both it is ./{DEFAULT_FILE}."),
]

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Where the running instance answers; by default the store tells."),
]


def tell(text: str) -> None:
    """To whoever waits, without a trace in what the command prints."""
    typer.echo(text, err=True)


def chosen_file(file: Path | None, config: Path | None) -> Path:
    """The file that is meant; raises UsageError when two are named."""
    if file is not None and config is not None and file != config:
        message = f"two files are named, {str(file)!r} and --config {str(config)!r}; name one"
        raise UsageError(message)
    return file or config or DEFAULT_FILE
