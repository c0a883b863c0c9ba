"""The program as a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

#: Seconds; ten times what a slow machine needs.
PATIENCE = 25.0

CONFIG = """
[system]
state = "state.db"

[system.runtime]
kind = "{runtime}"
workers = 1

[[services]]
provider = "file"
name = "files"
path = "."

[[connectors]]
name = "copy"
{extra}
[connectors.source]
service_name = "files"
resource = "in.jsonl"
input_encoding = "json"
[[connectors.sinks]]
service_name = "files"
resource = "out.jsonl"
"""


def written(folder: Path, *, runtime: str = "process", extra: str = "", more: str = "") -> Path:
    """A file that copies `in.jsonl` to `out.jsonl`."""
    path = folder / "mstream-config.toml"
    path.write_text(CONFIG.format(runtime=runtime, extra=extra) + more)
    return path


def append(folder: Path, numbers: Sequence[int]) -> None:
    with (folder / "in.jsonl").open("a") as file:
        file.writelines(f'{{"n": {each}}}\n' for each in numbers)


def numbers_in(path: Path) -> list[int]:
    """What has arrived."""
    return [json.loads(line)["n"] for line in path.read_text().splitlines()] if path.exists() else []


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait for it."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    message = f"not within {PATIENCE:g} s: {what}"
    raise AssertionError(message)


class Program:
    """`python -m mstream`; ended with the test."""

    def __init__(self, folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._log = (folder / f"log-{time.monotonic_ns()}.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mstream", *arguments],
            cwd=folder,
            env={**os.environ, "MSTREAM_API_PORT": "0", **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._log.close()

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def ended(self) -> tuple[int, str]:
        """Exit code and standard output, once it has ended."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def address(self) -> str:
        found = until(lambda: re.search(r"address=(http://\S+)", self.log), "the API listens")
        return str(found[1])

    def ready(self) -> httpx.Client:
        """A client, once the program is ready."""
        client = httpx.Client(base_url=self.address(), timeout=PATIENCE)
        until(lambda: client.get("/health/ready").status_code == 200, "the program is ready")
        return client
