"""The file of a command that does its work and ends: read, or shown to be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from mstream.cli.arguments import chosen_file
from mstream.cli.check import show
from mstream.cli.exits import Exit
from mstream.config.document import ConfigFile
from mstream.config.file import load
from mstream.observability.logs import chosen_format, configure
from mstream.providers import CATALOG


def loaded(file: Path | None, config: Path | None) -> ConfigFile:
    """What the file says; its problems go to standard error, and end the command where it is not valid."""
    configure("warn", chosen_format(os.environ))
    found = load(chosen_file(file, config), CATALOG, os.environ)
    show(found.problems, err=True)
    if found.config is None:
        raise typer.Exit(Exit.FINDINGS)
    return found.config
