"""The schemas of a connector: texts out of files, and checks on what each says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from mstream.config.problems import Code, Finding, Path
from mstream.config.tables import entries, text_at
from mstream.domain.batch import Encoding
from mstream.encodings import fault_of_schema

_ADVICE = "give it 'text', 'file', or 'service_name' and 'resource'"


def take_in_files(tables: dict[str, Any], folder: FilePath) -> Iterator[Finding]:
    """Puts the texts of files in the place of their names; what cannot be read stays, and is told."""
    for index, connector in entries(tables, "connectors"):
        for number, schema in entries(connector, "schemas"):
            name = text_at(schema, "file")
            if name is None or "text" in schema:
                continue
            try:
                schema["text"] = (folder / name).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text, or no valid path"
                path = ("connectors", index, "schemas", number, "file")
                yield Finding(path=path, code=Code.BAD_VALUE, message=f"the file cannot be read: {reason}")
            else:
                del schema["file"]


def schema_findings(path: Path, table: Mapping[str, Any], *, registers: bool, has_name: bool) -> Iterator[Finding]:
    """What is wrong with one entry; `registers`: its service takes texts; `has_name`: it knows what it calls this."""
    has_service, has_resource = "service_name" in table, "resource" in table
    if has_service != has_resource and not (has_service and has_name):
        missing = "resource" if has_service else "service_name"
        message = f"{missing!r} is missing: a schema of a service is named by both"
        yield Finding(path=(*path, missing), code=Code.MISSING_KEY, message=message)
    if "file" in table:
        message = "beside 'text' it means nothing" if "text" in table else "only a configuration file can name a file"
        yield Finding(path=(*path, "file"), code=Code.BAD_VALUE, message=message, suggestion="write 'text' alone")
    elif not has_service and not has_resource and "text" not in table:
        message = "nothing says what the schema is"
        yield Finding(path=(*path, "text"), code=Code.MISSING_KEY, message=message, suggestion=_ADVICE)
    if has_service and "text" in table and not registers:
        message = "this service takes no texts: it is asked for what it has"
        yield Finding(path=(*path, "text"), code=Code.BAD_VALUE, message=message, suggestion="leave one of both out")
    if table.get("encoding", Encoding.AVRO) in {Encoding.JSON, Encoding.BSON, Encoding.TEXT}:
        message = "schemas of this encoding are not applied in this version"
        yield Finding(path=(*path, "encoding"), code=Code.BAD_VALUE, message=message, suggestion='use "avro"')
        return
    text = text_at(table, "text")
    if text is not None and (fault := fault_of_schema(text)):
        message = f"this is no Avro schema that records can be read and written by: {fault}"
        yield Finding(path=(*path, "text"), code=Code.BAD_VALUE, message=message)
