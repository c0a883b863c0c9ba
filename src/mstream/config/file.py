"""Reads a configuration file: its value, or every problem with file, line, path and advice."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from mstream.config.checks import cross_findings
from mstream.config.document import ConfigFile, file_model, service_adapter
from mstream.config.legacy import modernised
from mstream.config.lines import line_of, lines_of
from mstream.config.problems import Code, Finding, Path, Problem, Severity, dotted
from mstream.config.schemas import take_in_files
from mstream.config.services import state_table
from mstream.config.shape import parsed
from mstream.ports.provider import Catalog

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A file as it was read; without `config` it cannot be used."""

    config: ConfigFile | None
    problems: list[Problem]

    @property
    def is_valid(self) -> bool:
        """Whether there are warnings at most."""
        return self.config is not None


class _Unreadable(Exception):
    """A text that has no tables to look at."""

    def __init__(self, code: Code, message: str, suggestion: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.suggestion = suggestion
        self.line = line


def load(path: FilePath | str, catalog: Catalog, environ: Mapping[str, str]) -> Loaded:
    """Read and check a file; nothing is opened, and nothing but problems comes of a faulty one."""
    file = str(path)
    try:
        text = _read(FilePath(path))
        raw = _tables(text)
    except _Unreadable as error:
        problem = Problem(
            file=file,
            line=error.line,
            path="",
            severity=Severity.ERROR,
            code=error.code,
            message=str(error),
            suggestion=error.suggestion,
        )
        return Loaded(config=None, problems=[problem])
    tables, findings = modernised(raw, catalog)
    findings += take_in_files(tables, FilePath(path).parent)
    config, faults = parsed(file_model(catalog), tables)
    findings += [*faults, *cross_findings(tables, catalog, environ)]
    problems = _problems(file, findings, _lines(text))
    if config is None or any(each.severity is Severity.ERROR for each in problems):
        return Loaded(config=None, problems=problems)
    return Loaded(config=_with_state(config, catalog), problems=problems)


def _read(path: FilePath) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"the file is not UTF-8 text (byte {error.start})"
        raise _Unreadable(Code.UNREADABLE, message, "save it as UTF-8") from None
    except FileNotFoundError:
        message = "there is no such file"
        raise _Unreadable(Code.UNREADABLE, message, "name another, or make one with `mstream init`") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no valid path"
        raise _Unreadable(Code.UNREADABLE, f"the file cannot be read: {reason}") from None


def _tables(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _Unreadable(Code.SYNTAX, "tables or lists are nested too deeply") from None
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        message = f"this is not TOML: {_AT_LINE.sub('', str(error)).strip()}"
        raise _Unreadable(Code.SYNTAX, message, line=line) from None


def _lines(text: str) -> Mapping[Path, int]:
    """Without lines a problem is still one: what cannot be found is not told."""
    try:
        return lines_of(text)
    except (ValueError, RecursionError):
        return {}


def _problems(file: str, findings: Iterable[Finding], lines: Mapping[Path, int]) -> list[Problem]:
    """In the order of the file, once each."""
    unique = {(each.path, each.code): each for each in reversed(list(findings))}
    found = [
        Problem(
            file=file,
            line=line_of(lines, each.path),
            path=dotted(each.path),
            severity=each.severity,
            code=each.code,
            message=each.message,
            suggestion=each.suggestion,
        )
        for each in unique.values()
    ]
    return sorted(found, key=lambda each: (each.line or 0, each.path, each.code))


def _with_state(config: ConfigFile, catalog: Catalog) -> ConfigFile:
    if config.system.state is None:
        return config
    hidden = service_adapter(catalog).validate_python(state_table(config.system.state))
    return config.model_copy(update={"services": (*config.services, hidden)})
