"""Commands about the configuration file: check, schema, init."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from mstream.cli.arguments import ConfigOption, FileArgument, chosen_file
from mstream.cli.exits import Exit
from mstream.cli.wording import counted
from mstream.config.document import file_model
from mstream.config.file import Loaded, load
from mstream.config.problems import Problem, Severity
from mstream.errors import MstreamError, UsageError
from mstream.providers import CATALOG

_COLOURS: Final = {Severity.ERROR: typer.colors.RED, Severity.WARNING: typer.colors.YELLOW}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("check")(check)
    app.command("schema")(schema)
    app.command("init")(init)


def check(
    file: FileArgument = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Check a configuration file; nothing is opened or started."""
    path = chosen_file(file, config)
    loaded = load(path, CATALOG, os.environ)
    if as_json:
        findings = [each.as_document() for each in loaded.problems]
        print(json.dumps({"valid": loaded.is_valid, "problems": findings}, indent=2, ensure_ascii=False))
    else:
        show(loaded.problems)
        typer.echo(_summary(path, loaded))
    if not loaded.is_valid:
        raise typer.Exit(Exit.FINDINGS)


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **file_model(CATALOG).model_json_schema(),
        "title": "mstream configuration",
    }
    print(json.dumps(document, indent=2))


def init(file: FileArgument = None, config: ConfigOption = None) -> None:
    """Write a first configuration file, with comments."""
    path = chosen_file(file, config)
    text = resources.files("mstream.cli").joinpath("first-config.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        message = f"{str(path)!r} is there already and stays as it is; name another file"
        raise UsageError(message) from None
    except OSError as error:
        message = f"{str(path)!r} cannot be written: {error.strerror}"
        raise MstreamError(message) from error
    typer.echo(f"wrote {path}; next: mstream check {path} && mstream run {path}", err=True)


def show(problems: Sequence[Problem], *, err: bool = False) -> None:
    """Print problems for people; colours only on a terminal."""
    for each in problems:
        place = f"{each.file}:{each.line}" if each.line else each.file
        severity = typer.style(each.severity.value, fg=_COLOURS[each.severity])
        where = f"{each.path}: " if each.path else ""
        advice = f" ({each.suggestion})" if each.suggestion else ""
        typer.echo(f"{place}: {severity}[{each.code.value}] {where}{each.message}{advice}", err=err)


def _summary(path: Path, loaded: Loaded) -> str:
    errors = sum(each.severity is Severity.ERROR for each in loaded.problems)
    warnings = len(loaded.problems) - errors
    verdict = "valid" if loaded.is_valid else "not valid"
    return f"{path} is {verdict}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
