"""Place orders of a small shop in a collection, change some and cancel some, until it is stopped.

Ids and times are texts, so that the stand-in for MongoDB that `run.py` starts can keep them too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection

#: With each new order one of the last so many may change.
RECENT = 40
#: One change in so many is that an order is cancelled.
CANCEL_EVERY = 10
#: How long the job is waited for.
PATIENCE_SEC = 120.0

STATES = ["paid", "packed", "shipped"]
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
GOODS = [("TEA-01", 9.5), ("CUP-07", 14.0), ("POT-02", 62.9), ("TIN-11", 4.25)]

Orders = Collection[dict[str, Any]]


def order_id(number: int) -> str:
    """Ids are in the order of their numbers."""
    return f"order-{number:07}"


def order(number: int) -> dict[str, Any]:
    """The order of this number; always the same but for its time."""
    chance = random.Random(number)
    name = chance.choice(NAMES)
    city, country, currency = chance.choice(PLACES)
    items = [
        {"sku": sku, "quantity": chance.randint(1, 4), "price": price}
        for sku, price in chance.sample(GOODS, chance.randint(1, 3))
    ]
    return {
        "_id": order_id(number),
        "placed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "state": "new",
        "customer": {"name": name, "city": city, "country": country},
        "email": f"{name.split()[0].lower()}.{number}@example.com",
        "phone": f"+372 5{chance.randint(100_0000, 999_9999)}",
        "items": items,
        "total": round(sum(each["quantity"] * each["price"] for each in items), 2),
        "currency": currency,
    }


def last(orders: Orders) -> int:
    """The number of the last order; it is never cancelled."""
    found = orders.find_one(sort=[("_id", -1)])
    return int(found["_id"].removeprefix("order-")) if found else 0


def change(orders: Orders, newest: int, chance: random.Random) -> None:
    """One of the orders before the newest goes on to another state, or away."""
    if newest <= 1:
        return
    where = {"_id": order_id(chance.randint(max(1, newest - RECENT), newest - 1))}
    if chance.randrange(CANCEL_EVERY) == 0:
        orders.delete_one(where)
    else:
        orders.update_one(where, {"$set": {"state": chance.choice(STATES)}})


def is_running(address: str) -> bool:
    """Whether the job at that address runs."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - an address of our own
            return bool(json.load(answer)["phase"] == "running")
    except (OSError, ValueError):
        return False


def wait_for(address: str, stopping: threading.Event) -> None:
    """Return once the job runs, so that nothing is cancelled that it has never seen. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE_SEC
    while not stopping.is_set() and not is_running(address):
        if time.monotonic() > until:
            message = f"{address}: the job does not run"
            raise TimeoutError(message)
        stopping.wait(0.2)


def place_first(orders: Orders, count: int) -> int:
    """Many at once, if there are none yet; the number of the last order."""
    number = last(orders)
    if number:
        return number
    orders.insert_many([order(each) for each in range(1, count + 1)])
    return count


def go_on(orders: Orders, number: int, per_second: float, stopping: threading.Event) -> None:
    """One order after the other, and a change with each."""
    chance = random.Random()
    parent, due = os.getppid(), time.monotonic()
    while os.getppid() == parent:
        due += 1 / per_second
        if stopping.wait(max(0.0, due - time.monotonic())):
            return
        number += 1
        orders.insert_one(order(number))
        change(orders, number, chance)


def main() -> int:
    """Generate until a signal comes, or the one that started this is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default=os.environ.get("MONGODB_URI"), help="default: MONGODB_URI")
    parser.add_argument("--at-once", type=int, default=500, help="orders for an empty collection (default: 500)")
    parser.add_argument("--per-second", type=float, default=5.0, help="orders after that (default: 5)")
    parser.add_argument("--after", metavar="URL", help="go on when this job runs: http://…/jobs/orders")
    arguments = parser.parse_args()

    stopping = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopping.set())
    with MongoClient[dict[str, Any]](arguments.uri) as client:
        orders = client["shop"]["orders"]
        number = place_first(orders, arguments.at_once)
        if arguments.after:
            wait_for(arguments.after, stopping)
        go_on(orders, number, arguments.per_second, stopping)
    return 0


if __name__ == "__main__":
    sys.exit(main())
