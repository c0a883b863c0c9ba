"""A collection that is written to, and which of its events a resume token is behind."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.collection import Collection

from tests.chaos.stream import Putting, record

Orders = Collection[dict[str, Any]]
#: How long the feed's own stream may lag behind a token that the program has stored.
_PATIENCE = 20.0
#: Of a document that is deleted.
GONE = -1


def order(number: int) -> dict[str, Any]:
    """The document of a record; its ids are in the order of the numbers."""
    return {"_id": f"{number:08}", **record(number)}


class Feed:
    """Reads the change stream as well, and knows the place of every token in it."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._places: dict[str, int] = {}
        #: Events before the first record: they show that the program's stream is open.
        self.primers = 0
        # One that is never read: a stand-in that forgets what every open stream has read keeps all of it.
        self._anchor = orders.watch()
        self._stream = orders.watch(max_await_time_ms=20)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, name="feed")
        self._thread.start()

    def before(self, token: str | None) -> int:
        """How many events end at or before it. Raises TimeoutError for a token that the stream does not have."""
        if token is None:
            return 0
        until = time.monotonic() + _PATIENCE
        while token not in self._places:
            if time.monotonic() > until:
                message = f"the stream has no event of the token {token!r}"
                raise TimeoutError(message)
            time.sleep(0.005)
        return self._places[token]

    def prime(self) -> None:
        """An event without a record."""
        self.primers += 1
        self._orders.insert_one({"_id": f"-{self.primers:07}", **record(0), "n": -self.primers})

    def close(self) -> None:
        """Read no more."""
        self._end.set()
        self._thread.join()
        self._stream.close()
        self._anchor.close()

    def _read(self) -> None:
        while not self._end.is_set():
            event = self._stream.try_next()
            if event is None:
                self._end.wait(0.01)
            else:
                self._places[event["_id"]["_data"]] = len(self._places) + 1


class Inserts(Putting):
    """Inserts records in their order."""

    def __init__(self, orders: Orders, *, at_least: int, per_second: float) -> None:
        super().__init__(at_least=at_least, per_second=per_second)
        self._orders = orders

    def _put(self, numbers: range) -> None:
        self._orders.insert_many([order(each) for each in numbers])


class Changes(Inserts):
    """Of ten events six insert, three change, and one deletes a document that stood there a while."""

    def __init__(self, orders: Orders, *, at_least: int, per_second: float, seed: int) -> None:
        super().__init__(orders, at_least=at_least, per_second=per_second)
        self._random = random.Random(seed)
        self._inserted = 0
        self._versions: dict[str, int] = {}
        #: Which document each event concerns, and the version that it has then.
        self.log: list[tuple[str, int]] = []

    def fill(self) -> None:
        """Documents that are there before the program is."""
        documents = [self._document() for _ in range(self._at_least // 2)]
        self._orders.insert_many(documents)
        self._ends.extend(range(len(documents)))

    def _put(self, numbers: range) -> None:
        actions = [self._action(each % 10) for each in numbers]
        self._orders.bulk_write(actions, ordered=True)

    def _action(self, kind: int) -> Any:
        living = [each for each, version in self._recent() if version != GONE]
        if kind < 6 or not living:
            return InsertOne(self._document())
        key = self._random.choice(living)
        if kind == 9:
            self._note(key, GONE)
            return DeleteOne({"_id": key})
        version = self._versions[key] + 1
        self._note(key, version)
        return UpdateOne({"_id": key}, {"$set": {"version": version, "mark": f"changed {version}"}})

    def _document(self) -> dict[str, Any]:
        document = order(self._inserted) | {"version": 0}
        self._inserted += 1
        self._note(document["_id"], 0)
        return document

    def _recent(self) -> list[tuple[str, int]]:
        """Those that were inserted last."""
        names = [f"{each:08}" for each in range(max(0, self._inserted - 300), self._inserted)]
        return [(each, self._versions[each]) for each in names]

    def _note(self, key: str, version: int) -> None:
        self._versions[key] = version
        self.log.append((key, version))
