"""Generate the reference pages from the code; check links, configuration examples and commands in every page.

`python scripts/docs.py` writes what is stale, `--check` only says so. `--run` also executes the blocks that ask for
it (see `blocks.py`); with names of pages it does that alone, for those.
"""

from __future__ import annotations

import argparse
import enum
import re
import subprocess
import sys
import tempfile
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from inspect import getdoc, getsource
from pathlib import Path
from typing import Annotated, Any, Literal

import api_page
import commands_page
import events_page
import startup_page
from blocks import blocks_of, failures
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from mstream.api.problems import STATUS
from mstream.config import system
from mstream.domain import connector
from mstream.errors import MstreamError
from mstream.foundation.secrets import Secret
from mstream.ports.provider import Provider
from mstream.providers import BUILT_IN

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
_MADE = "<!-- Made by `make docs` from the code: change it there. -->\n\n"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FIELD_COMMENT = re.compile(r"((?:^ {4}#:[^\n]*\n)+) {4}(\w+):", re.MULTILINE)
_PLAIN: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Secret: "text, secret",
    AwareDatetime: "a time with its zone, as `2026-01-31T08:00:00Z`",
}


def main(arguments: list[str]) -> int:
    """0 when every page is as it should be."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--run", action="store_true", help="execute the blocks that are marked for it")
    parser.add_argument("pages", nargs="*", type=Path, help="only run the blocks of these pages")
    chosen = parser.parse_args(arguments)
    if chosen.pages and not chosen.run:
        parser.error("pages are named to be run: say --run")
    problems = [] if chosen.pages else stale_or_wrong(write=not chosen.check)
    if chosen.run:
        for page in [each.resolve() for each in chosen.pages] or documents():
            problems += failures(page)
    for each in problems:
        print(each, file=sys.stderr)
    return 3 if problems else 0


def stale_or_wrong(*, write: bool) -> list[str]:
    """What is to be done about the pages; generated ones that are stale are written, if they may be."""
    pages = {
        "configuration.md": configuration(),
        "errors.md": errors(),
        "cli.md": f"# Commands\n\n{_MADE}{commands_page.page()}",
        "events.md": f"# Log events\n\n{_MADE}{events_page.page()}",
        "startup.md": f"# What a start does\n\n{_MADE}{startup_page.page()}",
    }
    stale = [name for name, text in pages.items() if not is_current(REFERENCE / name, text)]
    if write:
        REFERENCE.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (REFERENCE / name).write_text(pages[name])
            print(f"written: docs/reference/{name}", file=sys.stderr)
        stale = []
    problems = [f"docs/reference/{each} is stale: run `make docs`" for each in stale]
    problems += [*events_page.problems(), *api_page.problems((REFERENCE / "api.md").read_text())]
    for page in documents():
        problems += [*broken_links(page), *refused_examples(page), *refused_commands(page)]
    return problems


def is_current(path: Path, text: str) -> bool:
    """Whether a page stands there as it would be written."""
    return path.exists() and path.read_text() == text


def configuration() -> str:
    """The page on the configuration file."""
    parts = [
        "# Configuration\n\n",
        _MADE,
        (
            "One TOML file, by default `./mstream-config.toml`.\n"
            "Unknown keys are errors; `mstream check` names every problem of a file with its line.\n"
            "Relative paths are relative to the working directory.\n"
            "Any text of a service may be a reference, `env:NAME` or `file:/path`, read when the service is used.\n\n"
        ),
        "## `[system]`\n\n",
        table(system.System),
    ]
    for name, field in system.System.model_fields.items():
        if model := model_of(field.annotation):
            parts += [f"### `[system.{name}]`\n\n", described(model), table(model)]
    parts += ["## `[[connectors]]`\n\n", described(connector.ConnectorSpec), table(connector.ConnectorSpec)]
    parts += ["### Of a source, a middleware, a sink\n\n", described(connector.Ref), table(connector.Ref)]
    parts += ["Of a source also:\n\n", table(connector.SourceRef, without=connector.Ref)]
    parts += ["Of a sink also:\n\n", table(connector.SinkRef, without=connector.Ref)]
    for title, model in CONNECTOR_TABLES.items():
        parts += [f"### `{title}`\n\n", described(model), table(model)]
    parts.append("## `[[services]]`\n\n")
    for provider in BUILT_IN:
        parts += list(provider_section(provider))
    return "".join(parts).rstrip("\n") + "\n"


CONNECTOR_TABLES: Mapping[str, type[BaseModel]] = {
    "batch": connector.BatchPolicy,
    "checkpoint": connector.CheckpointPolicy,
    "retry": connector.RetryPolicy,
    "failure_budget": connector.FailureBudget,
    "dead_letters": connector.DeadLettersRef,
    "schemas": connector.SchemaRef,
}


def provider_section(provider: Provider[Any, Any]) -> Iterator[str]:
    """What stands on a service of one provider, and in the refs to it."""
    note = "" if provider.built else "Can be configured and checked; cannot run in this version.\n\n"
    extra = f"Needs `pip install 'mstream[{provider.extra}]'`.\n\n" if provider.extra else ""
    yield f'### `provider = "{provider.name}"`\n\n{described(provider.config)}{note}{extra}'
    yield table(provider.config)
    for role in ("source", "middleware", "sink"):
        declared = getattr(provider, role)
        if declared is not None and declared.options.model_fields:
            yield f"In a {role} of it:\n\n{table(declared.options)}"


def table(model: type[BaseModel], *, without: type[BaseModel] | None = None) -> str:
    """The fields of a model."""
    known = comments(model)
    left_out = set(without.model_fields) if without else set()
    lines = [
        f"| `{name}` | {spelled(field.annotation)}{bounds(field)} | {default(field)} | {known.get(name, '')} |"
        for name, field in model.model_fields.items()
        if name not in left_out
    ]
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *lines]) + "\n\n"


def described(model: type[BaseModel]) -> str:
    """The first sentence about a model."""
    return f"{(getdoc(model) or '').partition(chr(10))[0]}\n\n"


def comments(model: type[BaseModel]) -> dict[str, str]:
    """What is written above the fields, of a model and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each.__module__.startswith("mstream."):
            for text, name in _FIELD_COMMENT.findall(getsource(each)):
                found[name] = " ".join(line.strip().removeprefix("#:").strip() for line in text.splitlines())
    return {name: text.replace("|", "\\|") for name, text in found.items()}


def spelled(annotation: object) -> str:
    """A type in words of the file."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return spelled(inner[0])
    if origin is Literal:
        return _choices(inner)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(spelled(each) for each in inner if each is not types.NoneType))
    if origin in {tuple, list}:
        return f"list of {spelled(inner[0])}"
    return "table" if origin in {dict, Mapping} else _single(annotation)


def _single(annotation: object) -> str:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choices(each.value for each in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _PLAIN.get(annotation, "any")


def _choices(values: Iterable[object]) -> str:
    return " or ".join(f'`"{each}"`' for each in values)


def bounds(field: FieldInfo) -> str:
    """The limits of a number."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in signs.items()
        if hasattr(each, name)
    ]
    return f", {' and '.join(found)}" if found else ""


def default(field: FieldInfo) -> str:
    """What holds when a key is left out."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == ():
        return ""
    return "see there" if isinstance(value, BaseModel) else f"`{_literal(value)}`"


def _literal(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case _:
            return str(value)


def model_of(annotation: object) -> type[BaseModel] | None:
    """The model that a field holds, if it holds one."""
    for each in (annotation, *typing.get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def errors() -> str:
    """The page on error codes."""
    rows = [
        f"| `{each.code}` | {'yes' if each.retryable else ''} | {status_of(each).value} "
        f"| {(getdoc(each) or '').partition(chr(10))[0]} |"
        for each in family(MstreamError)
    ]
    return "".join(
        [
            "# Errors\n\n",
            _MADE,
            (
                "Every error has a code: in log lines (`error_code`), in answers of the API and in a job's `reason`.\n"
                "*Again* says that mstream tries again by itself; *status* is the one of an answer that tells of it.\n"
                "What `mstream check` finds has codes of its own, next to each finding.\n\n"
            ),
            "| code | again | status | what happened |\n|---|---|---|---|\n",
            "\n".join(rows),
            "\n",
        ]
    )


def family(root: type[MstreamError]) -> Iterator[type[MstreamError]]:
    """A class and all below it, in the order in which they are written."""
    yield root
    for each in root.__subclasses__():
        if each.__module__ == "mstream.errors":
            yield from family(each)


def status_of(error: type[MstreamError]) -> HTTPStatus:
    """The HTTP status of an error: its nearest ancestor decides."""
    return next(STATUS[each] for each in error.__mro__ if each in STATUS)


def documents() -> list[Path]:
    """Every page that is kept with the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / each for each in listed.stdout.splitlines() if (ROOT / each).exists()]


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    text = _BLOCK.sub("", page.read_text())
    found = []
    for target in _LINK.findall(text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path) if path else page
        if not goal.exists():
            found.append(f"{page.relative_to(ROOT)}: link to {target!r}, which is not there")
        elif anchor and goal.suffix == ".md" and anchor not in anchors(goal):
            found.append(f"{page.relative_to(ROOT)}: link to {target!r}, which has no such heading")
    return found


def anchors(page: Path) -> set[str]:
    """The headings of a page as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}


def refused_examples(page: Path) -> list[str]:
    """Whole configuration files in a page that `mstream check` does not take."""
    found = []
    for kind, text in _BLOCK.findall(page.read_text()):
        if kind != "toml" or "[[connectors]]" not in text or "[[services]]" not in text:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "example.toml"
            path.write_text(text)
            command = [sys.executable, "-m", "mstream", "check", str(path)]
            result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            found.append(f"{page.relative_to(ROOT)}: an example is refused: {result.stdout}{result.stderr}")
    return found


def refused_commands(page: Path) -> list[str]:
    """Commands of mstream in a page that it would not take."""
    text = page.read_text()
    shell = [each.text for each in blocks_of(text) if each.language in {"sh", "bash", "shell"}]
    prose = _BLOCK.sub("", text)
    return [f"{page.relative_to(ROOT)}: {each}" for each in commands_page.unknown_commands(prose, shell)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
