"""`mstream services …`: test the services of a file and of its store, and look into them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mstream.bootstrap.survey import FoundService, Lookout
from mstream.cli.arguments import ConfigOption, FileArgument
from mstream.cli.exits import Exit
from mstream.cli.loading import loaded
from mstream.control.inspecting import ResourceSchema, resources_of, schema_of
from mstream.control.probing import ServiceTest, probe_service
from mstream.ports.inspection import LARGEST_SAMPLE, SAMPLE
from mstream.ports.probe import Outcome
from mstream.providers import CATALOG

_COLOURS: Final = {
    Outcome.OK: typer.colors.GREEN,
    Outcome.WARNING: typer.colors.YELLOW,
    Outcome.FAILED: typer.colors.RED,
    Outcome.SKIPPED: typer.colors.BRIGHT_BLACK,
}

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", show_default=False, help="The service's name, in the file or in its store.")
]
StoredOption = Annotated[
    bool, typer.Option("--stored", help="As the store says; without it the file comes first, where it has one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]

ValuesOption = Annotated[
    bool, typer.Option("--values", help="Show values too: texts that come often, and the range of numbers.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    services = typer.Typer(help="The services of a file and of its store.", no_args_is_help=True, add_completion=False)
    services.callback()(_group)
    services.command("test")(probed)
    services.command("resources")(listed)
    services.command("schema")(inspected)
    app.add_typer(services, name="services")


def _group() -> None:
    """The services of a file and of its store."""


def probed(
    name: NameArgument,
    file: FileArgument = None,
    config: ConfigOption = None,
    stored: StoredOption = False,  # noqa: FBT002 - a flag
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
) -> None:
    """Show whether a service can be reached and used, and what to do if not; nothing is written there."""
    service = _found(name, file, config, stored=stored)
    answer = asyncio.run(probe_service(service.config, CATALOG, os.environ))
    if as_json:
        told = answer.as_document() | {"definition": _origin(service)}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(answer, _origin(service))
    raise typer.Exit(Exit.FINE if answer.is_fine else Exit.FINDINGS)


def listed(
    name: NameArgument,
    file: FileArgument = None,
    config: ConfigOption = None,
    stored: StoredOption = False,  # noqa: FBT002 - a flag
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what a service holds, by name: what connectors can name as `resource`."""
    service = _found(name, file, config, stored=stored).config
    answer = asyncio.run(resources_of(service, CATALOG, os.environ))
    if as_json:
        print(json.dumps(answer.as_document(), indent=2, ensure_ascii=False))
        return
    width = max((len(each.name) for each in answer.resources), default=0)
    for each in answer.resources:
        typer.echo(f"{each.name:<{width}}  {each.kind}")


def inspected(
    name: NameArgument,
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", show_default=False, help="What it calls it.")],
    file: FileArgument = None,
    config: ConfigOption = None,
    stored: StoredOption = False,  # noqa: FBT002 - a flag
    sample: Annotated[
        int, typer.Option(metavar="N", min=1, max=LARGEST_SAMPLE, help="How many documents are looked at.")
    ] = SAMPLE,
    shows_values: ValuesOption = False,  # noqa: FBT002 - a flag
    as_json: JsonOption = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what the documents of a resource look like, as JSON Schema with --json; nothing is written there."""
    service = _found(name, file, config, stored=stored).config
    answer = asyncio.run(
        schema_of(service, CATALOG, os.environ, resource=resource, sample=sample, shows_values=shows_values)
    )
    if as_json:
        print(json.dumps(answer.as_document(), indent=2, ensure_ascii=False))
    else:
        _show_schema(answer)


def _found(name: str, file: Path | None, config: Path | None, *, stored: bool) -> FoundService:
    lookout = Lookout(loaded(file, config), CATALOG, os.environ)
    return asyncio.run(lookout.service(name, stored=stored))


def _origin(service: FoundService) -> str:
    return "store" if service.is_stored else "file"


def _show_schema(answer: ResourceSchema) -> None:
    for each in answer.variants:
        typer.echo(f"{answer.share(each):g} % of {answer.count} documents")
        lines = list(_fields(each.schema, "  "))
        width = max((len(field) for field, _ in lines), default=0)
        for field, told in lines:
            typer.echo(f"{field:<{width}}  {told}")


def _fields(schema: Mapping[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    """Name, and what is known of it; those inside are indented."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield f"{indent}{name}", _told(inner) + ("" if name in required else ", not always there")
        for each in (inner, inner.get("items", {}), *inner.get("oneOf", ())):
            yield from _fields(each, f"{indent}  ")


def _told(schema: Mapping[str, Any]) -> str:
    if "oneOf" in schema:
        return " or ".join(map(_told, schema["oneOf"]))
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(types)
    if "items" in schema:
        text += f" of {_told(schema['items'])}"
    if "format" in schema:
        text += f" ({schema['format']})"
    if "enum" in schema:
        text += f": {', '.join(str(each) for each in schema['enum'] if each is not None)}"
    return f"{text}: {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else text


def _show(answer: ServiceTest, origin: str) -> None:
    typer.echo(f"service {answer.name!r} ({answer.provider}), as the {origin} has it")
    width = max((len(each.name) for each in answer.steps), default=0)
    for each in answer.steps:
        outcome = typer.style(f"{each.outcome.value:<7}", fg=_COLOURS[each.outcome])
        typer.echo(f"  {each.name:<{width}}  {outcome}  {each.detail}".rstrip())
        if each.advice:
            typer.echo(f"  {'':<{width}}  {'':<7}  -> {each.advice}")
