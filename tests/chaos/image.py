"""A store as it lies there, read without any of the program's own readers."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Document = dict[str, Any]

#: The resources of collections, by what is in them, as `[system] state` places them.
IN_STATE: Mapping[str, str] = {
    "jobs": "mstream-jobs",
    "services": "mstream-services",
    "checkpoints": "mstream-checkpoints",
    "audit": "mstream-audit",
    "runs": "mstream-runs",
    "system": "mstream-system",
}
#: The same, where `[system.job_lifecycle]` names the resource `mstream-jobs`.
NAMED: Mapping[str, str] = {
    **IN_STATE,
    "audit": "mstream-jobs-audit",
    "runs": "mstream-jobs-runs",
    "system": "mstream-jobs-system",
}


@dataclass(frozen=True, slots=True)
class Image:
    """Everything in a store at one moment: documents by key, services decrypted where that is possible."""

    jobs: Mapping[str, Document] = field(default_factory=dict)
    services: Mapping[str, Document] = field(default_factory=dict)
    #: The definitions of those that a key of the key file opens.
    opened: Mapping[str, Document] = field(default_factory=dict)
    checkpoints: Mapping[str, Document] = field(default_factory=dict)
    audit: Mapping[str, Document] = field(default_factory=dict)
    runs: Mapping[str, Document] = field(default_factory=dict)
    system: Mapping[str, Document] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The lease's; 0: there never was an owner."""
        return int(self.system.get("lease", {}).get("epoch", 0))


def image_of(read: Mapping[str, Iterable[tuple[str, str]]], keys: Path) -> Image:
    """Of rows of key and text, by what is in them."""
    documents = {what: {key: _untagged(json.loads(text)) for key, text in rows} for what, rows in read.items()}
    services = documents.get("services", {})
    return Image(**documents, opened=_opened(services, IN_STATE["services"], keys))


def of_sqlite(path: Path, keys: Path) -> Image:
    """A SQLite file that nobody need have open; none at all is an empty store."""
    if not path.exists():
        return Image()
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows = {
            what: connection.execute(f'SELECT key, document FROM "{name}"').fetchall()
            for what, name in IN_STATE.items()
            if name in there
        }
    return image_of(rows, keys)


def of_postgres(url: str, keys: Path) -> Image:
    """A database of PostgreSQL."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        there = {name for (name,) in found}
        rows = {
            what: connection.execute(f'SELECT key, document FROM "{name}"'.encode()).fetchall()
            for what, name in NAMED.items()
            if name in there
        }
    return image_of(rows, keys)


def _opened(services: Mapping[str, Document], collection: str, path: Path) -> dict[str, Document]:
    ciphers = [AESGCM(bytes.fromhex(each)) for each in path.read_text().split()] if path.exists() else []
    found: dict[str, Document] = {}
    for name, document in services.items():
        envelope = document.get("envelope")
        if not isinstance(envelope, dict):
            continue
        bound_to = json.dumps(["mstream", 1, collection, name]).encode()
        for cipher in ciphers:
            try:
                found[name] = json.loads(cipher.decrypt(envelope["nonce"], envelope["ct"], bound_to))
            except InvalidTag:
                continue
    return found


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return {key: _untagged(each) for key, each in value.items()}


def tagged(document: Document) -> str:
    """As a store keeps it."""
    return json.dumps(document, default=lambda octets: {"$bytes": base64.b64encode(octets).decode()})
