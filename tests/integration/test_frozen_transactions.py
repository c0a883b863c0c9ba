"""A process that is frozen inside a transaction: the server ends it before the next owner loses patience."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mstream.ports.documents import Stored
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from tests.integration.frozen_writer import RESOURCE

pytestmark = pytest.mark.timeout(180)


@contextmanager
def frozen_writer(url: str) -> Iterator[subprocess.Popen[str]]:
    """Stopped, with a document written and not committed."""
    command = [sys.executable, "-m", "tests.integration.frozen_writer", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "stopping"
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("database", ["new_postgres_database", "new_mysql_database"])
async def test_a_frozen_transaction_does_not_keep_the_next_owner_from_writing(
    database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(database)()
    async with PROVIDER.connect(SqlConfig.model_validate({"name": "it", "url": url})) as live:
        assert PROVIDER.documents is not None
        places = PROVIDER.documents(live).collection(RESOURCE)
        await places.put("lane", {"by": "first"}, revision="first")
        with frozen_writer(url) as frozen:
            await places.put("lane", {"by": "next"}, expect="first", revision="next")
            frozen.send_signal(signal.SIGCONT)
            output, _ = frozen.communicate(timeout=60)

        assert output.strip() != "committed"
        assert await places.get("lane") == Stored(key="lane", document={"by": "next"}, revision="next")
