"""`mstream export` and `mstream import`: move house between any two stores."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.running_owner import operator
from mstream.bootstrap.transfer import export as exported
from mstream.bootstrap.transfer import export_for_v047, take
from mstream.cli.arguments import ConfigOption
from mstream.cli.loading import loaded
from mstream.cli.wording import counted
from mstream.control.transfer import questions
from mstream.errors import ConfigError, MstreamError, UsageError
from mstream.foundation.tagged_json import from_text, to_text
from mstream.providers import CATALOG

#: A file's name that means standard output, or input.
_STREAM: Final = Path("-")


class Form(StrEnum):
    """What is written."""

    MSTREAM = "mstream"
    V047 = "v047"


BundleArgument = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The export; - for a stream.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("export")(export)
    app.command("import")(import_)


def export(
    file: BundleArgument,
    config: ConfigOption = None,
    encrypt_to: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="Keep the secrets, encrypted under this key.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="v047: documents of mstream v0.47, by collection, as extended JSON.")
    ] = Form.MSTREAM,
) -> None:
    """Write jobs, services and checkpoints to a file, also while the program runs.

    Without --encrypt-to secrets stay here, and an import asks for them.
    """
    estate = _estate(config)
    if form is Form.V047:
        if encrypt_to is not None:
            message = "v0.47 reads services under the key in use; --encrypt-to does not go with --format v047"
            raise UsageError(message)
        old = asyncio.run(export_for_v047(estate))
        _write(file, json.dumps(old.documents, separators=(",", ":")) + "\n")
        for each in old.left_out:
            typer.echo(f"v0.47 could not read it, and it is left out: {each}", err=True)
        return
    bundle = asyncio.run(exported(estate, encrypt_to=encrypt_to))
    _write(file, to_text(bundle) + "\n")
    counts = ", ".join(counted(len(bundle[f"{each}s"]), each) for each in ("job", "service", "checkpoint"))
    asked = questions(bundle)
    more = f"; an import will ask for {counted(len(asked), 'secret')}" if asked else ""
    typer.echo(f"exported {counts}{more}", err=True)
    for each in bundle["damaged"]:
        typer.echo(f"job {each!r} cannot be used, and is exported as it stands", err=True)


def import_(
    file: BundleArgument,
    config: ConfigOption = None,
    decrypt_with: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="The key that the export was encrypted to.")
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON object of answers: service/path to a secret or a reference."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also what is there and differs.")] = False,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Read what `export` has written into the stores of a file. The program must not run."""
    estate = _estate(config)
    bundle = _bundle(file)
    answers = _answers(questions(bundle), secrets)
    count = asyncio.run(
        take(
            estate,
            bundle,
            answers=answers,
            decrypt_with=decrypt_with,
            overwrite=overwrite,
            by=operator(),
        )
    )
    if as_json:
        print(json.dumps(count))
    else:
        typer.echo("imported " + ", ".join(counted(number, what.removesuffix("s")) for what, number in count.items()))


def _estate(config: Path | None) -> Estate:
    return Estate(loaded(None, config), catalog=CATALOG, environ=os.environ)


def _write(path: Path, text: str) -> None:
    """To a new file that only its owner can read."""
    if path == _STREAM:
        sys.stdout.write(text)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        message = f"{str(path)!r} is there already and stays as it is; name another file"
        raise UsageError(message) from None
    except OSError as error:
        message = f"{str(path)!r} cannot be written: {error.strerror}"
        raise MstreamError(message) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())


def _bundle(path: Path) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if path == _STREAM else path.read_text(encoding="utf-8")
        return from_text(text)
    except OSError as error:
        message = f"{str(path)!r} cannot be read: {error.strerror}"
        raise UsageError(message) from None
    except (ValueError, TypeError, RecursionError):
        message = f"{str(path)!r} is no export of mstream"
        raise ConfigError(message) from None


def _answers(asked: Sequence[str], path: Path | None) -> Mapping[str, str]:
    """From the file of answers, then from whoever sits there."""
    given = _given(path)
    missing = [each for each in asked if each not in given]
    if missing and not sys.stdin.isatty():
        message = f"the export does not have these secrets: {', '.join(missing)}; give them in a file, with --secrets"
        raise UsageError(message)
    return {**given, **{each: getpass.getpass(f"{each}: ") for each in missing}}


def _given(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"{str(path)!r} cannot be read as JSON"
        raise UsageError(message) from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        message = f"{str(path)!r} must be a JSON object of texts"
        raise UsageError(message)
    return found
