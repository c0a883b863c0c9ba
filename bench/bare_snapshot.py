"""The bare loop over a collection: `python -m bench.bare_snapshot URI TARGET SIZE`."""

import os
import sys

from pymongo import MongoClient

uri, target, size = *sys.argv[1:3], int(sys.argv[3])

with open(target, "wb", buffering=0) as file:
    file.writelines(MongoClient(uri)["bench"]["orders"].find_raw_batches(sort=[("_id", 1)], batch_size=size))
    os.fsync(file)
