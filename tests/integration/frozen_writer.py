"""Writes a document inside a transaction, stops itself before the commit, goes on when it is continued.

`python -m tests.integration.frozen_writer URL`; prints how it ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from mstream.errors import MstreamError
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from mstream.providers.sql.service import SqlService
from mstream.providers.sql.tables import table_of, write_expecting
from mstream.providers.sql.together import SharedWrites

RESOURCE = "places"


async def main(url: str) -> None:
    config = SqlConfig.model_validate({"name": "it", "url": url})
    async with PROVIDER.connect(config) as live:
        assert isinstance(live, SqlService)
        table = table_of(RESOURCE, live.dialect)

        def work(connection: Any) -> None:
            values = {"revision": "frozen", "document": '{"by": "frozen"}'}
            assert write_expecting(connection, table, "lane", values, "first")
            print("stopping", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1)  # the signal may stop this thread a moment later than the others

        try:
            await SharedWrites(live).run(work, table, "frozen")
        except MstreamError as error:
            print(error.code, flush=True)
        else:
            print("committed", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
