"""Append orders of a small shop to a file: many at once if it is empty, then a trickle, until it is stopped."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

#: One order in so many is a test of the shop itself.
TEST_EVERY = 25

NAMES = [
    "Ada Lovelace",
    "Zoë Brandt",
    "Mati Kõiv",
    "Jun Watanabe",
    "Íris Duarte",
    "Noah Okafor",
    "Priya Raman",
    "Ben Ames",
]
PLACES = [("Tallinn", "EE", "EUR"), ("Porto", "PT", "EUR"), ("Osaka", "JP", "JPY"), ("Leeds", "GB", "GBP")]
GOODS = [
    ("TEA-01", "Sencha, 100 g", 9.5),
    ("CUP-07", "Cup, blue", 14.0),
    ("POT-02", "Iron pot", 62.9),
    ("TIN-11", "Tin", 4.25),
]
NOTES = [None, None, None, "please ring twice", "a gift: no invoice, s'il vous plaît", "日本語の領収書をお願いします"]


def order(number: int, placed: datetime) -> dict[str, Any]:
    """The order of this number; always the same but for its time."""
    chance = random.Random(number)
    name = chance.choice(NAMES)
    city, country, currency = chance.choice(PLACES)
    items = [
        {"sku": sku, "title": title, "quantity": chance.randint(1, 4), "price": price}
        for sku, title, price in chance.sample(GOODS, chance.randint(1, 3))
    ]
    return {
        "order_id": number,
        "placed_at": placed.isoformat(timespec="milliseconds"),
        "customer": name,
        "email": f"{name.split()[0].lower()}.{number}@example.com",
        "phone": f"+372 5{chance.randint(100_0000, 999_9999)}",
        "city": city,
        "country": country,
        "items": items,
        "total": round(sum(each["quantity"] * each["price"] for each in items), 2),
        "currency": currency,
        "note": chance.choice(NOTES),
        "test": number % TEST_EVERY == 0,
    }


def resume(path: Path) -> int:
    """The number of the last order in the file; half a line, left by a generator that was killed, is removed."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_536))
        tail = file.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            file.truncate(size - len(tail) + len(whole))
    lines = whole.splitlines()
    return int(json.loads(lines[-1])["order_id"]) if lines else 0


def append(path: Path, orders: list[dict[str, Any]]) -> None:
    """Whole lines, by one write."""
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in orders)
    with path.open("ab", buffering=0) as file:
        file.write(text.encode("utf-8"))


def main() -> int:
    """Generate until a signal comes, or the one that started this is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--at-once", type=int, default=3000, help="orders for an empty file (default: 3000)")
    parser.add_argument("--per-second", type=float, default=5.0, help="orders after that (default: 5)")
    arguments = parser.parse_args()

    stopping = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopping.set())
    path: Path = arguments.file
    path.parent.mkdir(parents=True, exist_ok=True)
    last = resume(path)
    if not last:
        began = datetime.now(UTC) - timedelta(seconds=arguments.at_once)
        append(path, [order(each, began + timedelta(seconds=each)) for each in range(1, arguments.at_once + 1)])
        last = arguments.at_once
    parent, due = os.getppid(), time.monotonic()
    while not stopping.is_set() and os.getppid() == parent:
        due += 1 / arguments.per_second
        if stopping.wait(max(0.0, due - time.monotonic())):
            break
        last += 1
        append(path, [order(last, datetime.now(UTC))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
