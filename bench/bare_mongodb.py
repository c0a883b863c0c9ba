"""The bare loops over a change stream: `python -m bench.bare_mongodb file|insert|replace URI TARGET COUNT SIZE`."""

import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from bson import CodecOptions, decode, encode
from bson.raw_bson import RawBSONDocument
from orjson import dumps
from pymongo import InsertOne, MongoClient, ReplaceOne, WriteConcern

kind, uri, target, count, size = *sys.argv[1:4], *map(int, sys.argv[4:])


def chunks() -> Iterator[list[Any]]:  # noqa: D103 - as it says
    saved, interval = time.monotonic(), 0.05  # as often as a checkpoint is saved
    orders = MongoClient(uri)["bench"]["orders"].with_options(CodecOptions(RawBSONDocument))
    with orders.watch(full_document="updateLookup") as stream, open(f"{target}.token", "wb") as file:  # noqa: PTH123
        for _ in range(count // size):
            yield [each["fullDocument"] for each in islice(stream, size)]
            if time.monotonic() - saved >= interval:
                os.pwrite(file.fileno(), encode(stream.resume_token or {}), 0)
                os.fsync(file)
                saved, interval = time.monotonic(), min(interval * 2, 1.0)


if kind == "file":
    with open(target, "wb", buffering=0) as lines:  # noqa: PTH123 - the plainest way
        lines.writelines(b"\n".join([*(dumps(decode(each.raw), str) for each in batch), b""]) for batch in chunks())
        os.fsync(lines)
else:
    copies = MongoClient(uri)["bench"].get_collection("copies", write_concern=WriteConcern("majority", j=True))
    keyed = kind == "replace"
    for batch in chunks():
        puts = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) if keyed else InsertOne(each) for each in batch]
        copies.bulk_write(puts, ordered=False)
