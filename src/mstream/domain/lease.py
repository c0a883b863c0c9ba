"""Who owns a store: the lease as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mstream.foundation.processes import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One instance of the program, as others are to know it."""

    #: Made once per process; no two are the same.
    instance: str
    process: Process
    #: Where its API answers; "": nowhere.
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """What a lease says: its owner, since which epoch, for how long each renewal holds."""

    identity: Identity
    #: Grows with every owner.
    epoch: int
    lease_sec: float
    #: The operating-system lock that the owner held from its first moment; "": none.
    lock: str = ""
    #: Its owner has ended, and left nothing running.
    is_released: bool = False
    #: RFC 3339, UTC: for people to read. Nothing is decided by it.
    renewed_at: str = ""

    @property
    def owner(self) -> str:
        """The owner in a sentence."""
        where = f" at {self.identity.address}" if self.identity.address else ""
        return f"process {self.identity.process.pid} on {self.identity.process.host!r}{where} (epoch {self.epoch})"


def to_document(tenure: Tenure) -> dict[str, Any]:
    """How a lease is stored."""
    process = tenure.identity.process
    return {
        "name": "lease",
        "epoch": tenure.epoch,
        "instance": tenure.identity.instance,
        "host": process.host,
        "boot_id": process.boot_id,
        "pid_namespace": process.namespace,
        "pid": process.pid,
        "process_started": process.started,
        "address": tenure.identity.address,
        "lease_sec": tenure.lease_sec,
        "lock": tenure.lock,
        "released": tenure.is_released,
        "renewed_at": tenure.renewed_at,
    }


def from_document(document: Mapping[str, Any]) -> Tenure:
    """Read back what `to_document` made. Raises ValueError when it is no lease."""
    try:
        process = Process(
            host=str(document["host"]),
            boot_id=str(document["boot_id"]),
            namespace=str(document["pid_namespace"]),
            pid=int(document["pid"]),
            started=str(document["process_started"]),
        )
        identity = Identity(
            instance=str(document["instance"]), process=process, address=str(document.get("address", ""))
        )
        return Tenure(
            identity=identity,
            epoch=int(document["epoch"]),
            lease_sec=float(document["lease_sec"]),
            lock=str(document.get("lock", "")),
            is_released=bool(document.get("released", False)),
            renewed_at=str(document.get("renewed_at", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"it is no lease: {type(error).__name__}"
        raise ValueError(message) from error
