"""Loads a text as a file, with the catalog as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mstream.config.document import ConfigFile
from mstream.config.file import Loaded, load
from mstream.config.problems import Problem
from mstream.providers import CATALOG

SERVICES = """\
[[services]]
provider = "file"
name = "files"
path = "."

[[services]]
provider = "sql"
name = "db"
url = "sqlite:///./data.db"

[[services]]
provider = "udf"
name = "scripts"
script_path = "./scripts"
engine = { kind = "python" }
"""

#: A file with which nothing is wrong.
VALID = (
    """\
[system]
state = "./state.db"

"""
    + SERVICES
    + """
[[connectors]]
name = "orders"
source = { service_name = "files", resource = "in.jsonl" }
middlewares = [{ service_name = "scripts", resource = "mask.py" }]
sinks = [{ service_name = "db", resource = "orders" }]
"""
)


def loaded(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """What comes of a file with this text."""
    path = folder / "mstream-config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, CATALOG, environ or {})


def config(folder: Path, text: str) -> ConfigFile:
    """The value of a file that must be valid."""
    result = loaded(folder, text)
    assert result.config is not None, result.problems
    return result.config


def places(problems: list[Problem]) -> list[tuple[int | None, str, str]]:
    """Line, path and code of each."""
    return [(each.line, each.path, each.code.value) for each in problems]
