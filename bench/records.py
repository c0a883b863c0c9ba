"""The input: orders of a shop, flat, about 280 bytes each."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import orjson

#: Field -> type of its column, as mstream makes the table.
TABLE = {
    "order_id": "BIGINT",
    "customer": "TEXT",
    "email": "TEXT",
    "amount": "DOUBLE",
    "paid": "BOOLEAN",
    "placed_at": "TEXT",
    "note": "TEXT",
}


def order(number: int, chance: random.Random) -> dict[str, Any]:
    """One order."""
    return {
        "order_id": number,
        "customer": f"customer-{chance.randrange(100_000):06}",
        "email": f"person.{chance.randrange(100_000):06}@mail.example",
        "amount": chance.randrange(100, 400_000) / 4,
        "paid": chance.random() < 0.9,
        "placed_at": f"2025-01-{1 + number % 28:02}T12:{number // 60 % 60:02}:{number % 60:02}Z",
        "note": f"{chance.getrandbits(480):x}",
    }


def payloads(count: int, seed: int = 7) -> list[bytes]:
    """The encoded orders; the same for the same seed."""
    chance = random.Random(seed)
    return [orjson.dumps(order(number, chance)) for number in range(count)]


def write(path: Path, count: int, seed: int = 7) -> None:
    """A file of orders, written piece by piece."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, count, 10_000):
            end = min(start + 10_000, count)
            file.write(b"".join(orjson.dumps(order(number, chance)) + b"\n" for number in range(start, end)))


def digest(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
