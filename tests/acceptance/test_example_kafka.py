"""The Kafka example: on the broker that it starts by itself, killed, started again, and with nothing to start."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.acceptance.programs import until
from tests.servers import kafka
from tests.servers.process import free_port

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/kafka"

pytestmark = [pytest.mark.slow]


def started(
    folder: Path, output: Path, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, str(EXAMPLE / "run.py"), "--folder", str(folder), "--at-once", "200", *arguments],
            # Not the usual port: other tests that run now show that one.
            env={**kept, "MSTREAM_API_PORT": str(free_port()), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def table(folder: Path) -> list[tuple[int, str, str]]:
    """Number, customer and e-mail of each row, in their order."""
    with contextlib.closing(sqlite3.connect(folder / "warehouse.db", timeout=20)) as database:
        return database.execute("SELECT order_id, customer, email FROM orders ORDER BY rowid").fetchall()


def sold(folder: Path) -> list[int]:
    """The orders that are no tests."""
    orders = map(json.loads, (folder / "shop/orders.jsonl").read_text().splitlines())
    return [each["order_id"] for each in orders if not each["test"]]


@pytest.mark.skipif(not kafka.is_installed(), reason=kafka.ADVICE)
def test_the_example_ends_complete_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder, output = tmp_path / "out", tmp_path / "output"
    first = started(folder, output, "--seconds", "2")
    try:
        assert first.wait(150) == 0, output.read_text()
        assert "Every order has arrived, each once." in output.read_text()
        rows = table(folder)
        assert sorted(number for number, _, _ in rows) == sold(folder)
        assert all(re.fullmatch(r"\w\*\*\*@example\.com", email) for _, _, email in rows)

        second = started(folder, output)
        try:
            until(lambda: "Look, in another terminal" in output.read_text(), "the broker is there")
            until(lambda: "program_ready" in output.read_text(), "the program is ready")
            until(lambda: len(table(folder)) > len(rows), "orders of the second run arrive")
            second.send_signal(signal.SIGINT)
            assert second.wait(90) in {0, 130}, output.read_text()
        finally:
            second.kill()
    finally:
        first.kill()

    after = table(folder)
    assert after[: len(rows)] == rows
    assert len({number for number, _, _ in after}) == len(after)
    for customer in {each for _, each, _ in after}:
        numbers = [number for number, each, _ in after if each == customer]
        assert numbers == sorted(numbers)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    output = tmp_path / "output"
    process = started(tmp_path / "out", output, environ={"PATH": str(tmp_path)})

    assert process.wait(30) == 1
    assert kafka.ADVICE in output.read_text()
    assert "KAFKA_BOOTSTRAP" in output.read_text()


def test_compose_runs_one_broker_and_takes_files_that_are_there() -> None:
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    build = services["mstream"]["build"]
    root = EXAMPLE / build["context"]
    copied = re.findall(r"^COPY (.+) \S+$", build["dockerfile_inline"], re.MULTILINE)
    broker = services["kafka"]["environment"]
    pom = (Path(kafka.__file__).parent / "pom.xml").read_text()

    assert copied
    assert all((root / each).exists() for sources in copied for each in sources.split())
    assert (
        f"PLAINTEXT://{services['mstream']['environment']['KAFKA_BOOTSTRAP']}" == broker["KAFKA_ADVERTISED_LISTENERS"]
    )
    assert f"<version>{services['kafka']['image'].rpartition(':')[2]}</version>" in pom
    assert services["generate"]["volumes"] == services["mstream"]["volumes"]
