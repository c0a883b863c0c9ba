"""The MongoDB example: on the stand-in that it starts by itself, interrupted, and started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from mstream.functions import mask_email, mask_phone
from tests.acceptance.programs import until
from tests.servers import nx
from tests.servers.process import free_port

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/mongodb"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not nx.is_installed(), reason=nx.ADVICE)]


def started(folder: Path, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if name != "MONGODB_URI"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, str(EXAMPLE / "run.py"), "--folder", str(folder), "--at-once", "100", *arguments],
            # Not the usual port: other tests that run now show that one.
            env={**environ, "MSTREAM_API_PORT": str(free_port())},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def rows(folder: Path) -> dict[str, str]:
    """The e-mail of each order in the table."""
    with contextlib.closing(sqlite3.connect(folder / "warehouse.db")) as database:
        return dict(database.execute("SELECT _id, email FROM orders").fetchall())


def masked(order: dict[str, Any]) -> dict[str, Any]:
    return order | {"email": mask_email(order["email"]), "phone": mask_phone(order["phone"])}


def is_followed(client: MongoClient[dict[str, Any]]) -> bool:
    """Whether the second collection is the first one, masked."""
    orders = [masked(each) for each in client["shop"]["orders"].find(sort=[("_id", 1)])]
    return orders == list(client["masked"]["orders"].find(sort=[("_id", 1)]))


def test_the_example_ends_complete_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder, output = tmp_path / "out", tmp_path / "output"
    first = started(folder, output, "--seconds", "2")
    try:
        assert first.wait(120) == 0, output.read_text()
        assert "Every change has arrived." in output.read_text()
        table = rows(folder)
        assert len(table) > 100
        assert all(re.fullmatch(r"\w\*\*\*@example\.com", each) for each in table.values())

        second = started(folder, output)
        try:
            until(lambda: len(rows(folder)) > len(table), "orders of the second run arrive")
            uri = re.search(r"mongosh (mongodb://\S+/)masked", output.read_text())
            assert uri is not None
            with MongoClient[dict[str, Any]](uri[1]) as client:
                until(lambda: is_followed(client), "the second collection is the first one, masked")
                assert client["shop"]["orders"].count_documents({"state": {"$ne": "new"}}) > 0
            second.send_signal(signal.SIGINT)
            assert second.wait(60) in {0, 130}, output.read_text()
        finally:
            second.kill()
    finally:
        first.kill()

    assert table.items() <= rows(folder).items()


def test_compose_makes_a_replica_set_and_takes_files_that_are_there() -> None:
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    build = services["mstream"]["build"]
    root = EXAMPLE / build["context"]
    copied = re.findall(r"^COPY (.+) \S+$", build["dockerfile_inline"], re.MULTILINE)

    assert copied
    assert all((root / each).exists() for sources in copied for each in sources.split())
    assert "--replSet" in services["mongo"]["command"]
    assert "rs.initiate" in services["init"]["command"][0]
    assert services["mstream"]["environment"] == services["generate"]["environment"]
    assert services["mstream"]["environment"]["MONGODB_URI"].endswith("?replicaSet=rs0")
