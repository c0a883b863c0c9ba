"""nx-27017, a stand-in for MongoDB over SQLite files: what it has acknowledged survives a restart."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from tests.servers.mongodb import MongodbServer

ADVICE = "pip install nx-27017"


def is_installed() -> bool:
    return find_spec("nx_27017") is not None


class NxServer(MongodbServer):
    """One file per database."""

    accounts = None  # it runs on our own Python

    def __init__(self) -> None:
        super().__init__("nx")
        (self.folder / "data").mkdir()

    def command(self) -> list[str]:
        main = Path(__file__).parent / "main.py"
        files = [f"--{each}-file={self.folder / f'nx.{each}'}" for each in ("log", "pid")]
        return [sys.executable, str(main), f"--data-dir={self.folder / 'data'}", f"--port={self.port}", *files]
