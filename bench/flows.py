"""File to file and file to SQLite, with and without a script: mstream against the bare loops."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import process, records
from bench.process import Measured

SCRIPTS = Path(__file__).parent / "scripts"
CONTENDERS = ("mstream", "bare", "bare, same allocator")


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of work."""

    sink: str
    #: A file in `scripts`; None: passed through.
    script: str | None

    @property
    def name(self) -> str:
        """As it is printed."""
        way = "file to SQLite" if self.sink == "sqlite" else "file to file"
        kinds = {None: "passed through", "edit.py": "transform", "edit_batch.py": "transform_batch"}
        return f"{way}, {kinds[self.script]}"


FLOWS = [Flow(sink, script) for sink in ("file", "sqlite") for script in (None, "edit.py", "edit_batch.py")]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one contender in a folder of its own."""

    flow: Flow
    contender: str
    folder: Path
    source: Path
    count: int

    def run(self) -> Measured:
        """Start it and see it through."""
        self.folder.mkdir()
        if self.flow.sink == "sqlite":
            goal, progress = self.count, self._progress(process.rows)
        else:
            goal, progress = self._expected_bytes(), self._progress(process.size)
        measured = process.run(self._command(), progress=progress, count=goal, log=self.folder / "log")
        return Measured(records_per_second=measured.records_per_second * self.count / goal, memory=measured.memory)

    @property
    def target(self) -> Path:
        """What it writes."""
        return self.folder / ("out.db" if self.flow.sink == "sqlite" else "out.jsonl")

    def digest(self) -> str:
        """The hash of what it wrote; for a table, of its rows in the order in which they were written."""
        if self.flow.sink == "file":
            return records.digest(self.target)
        found = hashlib.sha256()
        with contextlib.closing(sqlite3.connect(self.target)) as database:
            names = ", ".join(records.TABLE)
            for row in database.execute(f"SELECT {names} FROM records ORDER BY rowid"):  # noqa: S608 - our own names
                found.update(repr(row).encode())
        return found.hexdigest()

    def _progress(self, look: Callable[[Path], int]) -> Callable[[], int]:
        return lambda: look(self.target)

    def _expected_bytes(self) -> int:
        if self.flow.script is None:
            return self.source.stat().st_size
        counted = self.source.with_suffix(".edited")
        if not counted.exists():
            counted.write_text(str(edited_size(self.source)))
        return int(counted.read_text())

    def _command(self) -> list[str]:
        if self.contender.startswith("mstream"):
            config = self.folder / "bench.toml"
            config.write_text(config_text(self))
            return [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]
        allocator = ["--allocator"] if "allocator" in self.contender else []
        script = ["--script"] if self.flow.script else []
        loop = [sys.executable, "-m", "bench.bare_process", self.flow.sink, str(self.source), str(self.target)]
        return [*loop, *allocator, *script]


def edited_size(source: Path) -> int:
    """How many bytes the edited records will be."""
    import orjson  # noqa: PLC0415 - not needed without scripts

    from bench.scripts.edit import transform  # noqa: PLC0415 - the same

    with source.open("rb") as file:
        return sum(len(orjson.dumps(transform(orjson.loads(line)))) + 1 for line in file)


def config_text(trial: Trial) -> str:
    """The configuration file of mstream: one job, the process runtime."""
    sqlite = trial.flow.sink == "sqlite"
    script = trial.flow.script
    step = f'[{{ service_name = "scripts", resource = "{script}" }}]' if script else "[]"
    service = (
        f'provider = "sql"\nname = "out"\nurl = "sqlite:///{trial.target}"'
        if sqlite
        else f'provider = "file"\nname = "out"\npath = "{trial.folder}"'
    )
    return f"""\
[system]
state = "{trial.folder / "state.db"}"

[system.api]
port = 0

[[services]]
provider = "file"
name = "in"
path = "{trial.source.parent}"

[[services]]
provider = "udf"
name = "scripts"
script_path = "{SCRIPTS}"
engine = {{ kind = "python" }}

[[services]]
{service}

[[connectors]]
name = "bench"
source = {{ service_name = "in", resource = "{trial.source.name}" }}
middlewares = {step}
sinks = [{{ service_name = "out", resource = "{"records" if sqlite else trial.target.name}" }}]
"""
