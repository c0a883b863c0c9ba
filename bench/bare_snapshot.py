"""The bare loop over a collection: `python -m bench.bare_snapshot URI TARGET SIZE`."""

import os
import sys
import time

from pymongo import MongoClient

uri, target, size = *sys.argv[1:3], int(sys.argv[3])
saved, interval = time.monotonic(), 0.05  # it is on the disk as often as a checkpoint is saved

with open(target, "wb", buffering=0) as file:
    for batch in MongoClient(uri)["bench"]["orders"].find_raw_batches(sort=[("_id", 1)], batch_size=size):
        file.write(batch)
        if time.monotonic() - saved >= interval:
            os.fsync(file)
            saved, interval = time.monotonic(), min(interval * 2, 1.0)
    os.fsync(file)
