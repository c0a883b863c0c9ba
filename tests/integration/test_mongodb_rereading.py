"""A program that runs is asked to read a collection once more, and is killed: what it has acknowledged is done."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.programs import Program, until
from tests.integration import test_mongodb_flow
from tests.integration.test_mongodb_flow import arrived, is_running
from tests.servers.mongodb import MongoDatabase

database, folder = test_mongodb_flow.database, test_mongodb_flow.folder

COUNT = 12_000
#: A stand-in looks at all documents for each answer.
FEW = 4000
FILLING = "x" * 500

pytestmark = pytest.mark.timeout(180)


def name_of(number: int) -> str:
    return f"{number:05d}"


def order(folder: Path, environ: dict[str, str], *options: str) -> tuple[int, str]:
    """The command's exit code, and what it has to say."""
    with Program(folder, "jobs", "snapshot", "orders", *options, environ=environ) as command:
        code, output = command.ended()
        return code, output or command.log


@pytest.mark.parametrize("is_at_once", [True, False])
def test_an_order_outlives_a_kill(is_at_once: bool, folder: Path, database: MongoDatabase) -> None:
    environ = {"SHOP_URI": database.uri}
    with database.client() as client:
        orders = client[database.name]["orders"]
        orders.insert_many([{"_id": name_of(each), "n": 0, "filling": FILLING} for each in range(COUNT)])
        with Program(folder, "run", environ=environ) as program:
            until(lambda: is_running(program), "the job runs")
            numbers = 0
            while not arrived(folder):
                orders.insert_one({"_id": f"primer-{numbers}", "n": -1})
                numbers += 1
                time.sleep(0.2)

            assert order(folder, environ) == (0, "job 'orders' reads once more what is there\n")
            if not is_at_once:
                until(lambda: len(arrived(folder)) >= 1000, "some have come through")
            program.send(signal.SIGKILL)
            program.process.wait(timeout=30)
        # One that was read perhaps, and one that was not.
        orders.replace_one({"_id": name_of(0)}, {"_id": name_of(0), "n": 1})
        orders.replace_one({"_id": name_of(COUNT - 1)}, {"_id": name_of(COUNT - 1), "n": 1})

        with Program(folder, "run", environ=environ) as program:
            wanted = {name_of(each) for each in range(COUNT)}
            until(lambda: wanted <= {each["_id"] for each in arrived(folder)}, "all have come through")
            orders.insert_one({"_id": "last", "n": 1})
            until(lambda: arrived(folder)[-1]["_id"] == "last", "the stream goes on")
            held = {each["_id"]: each["n"] for each in orders.find({}, {"n": 1})}
            refusal = "error[conflict]: no snapshot is under way beside the change stream of 'orders'\n"
            assert order(folder, environ, "--cancel") == (1, refusal)

    assert newest(folder) == held


@pytest.mark.slow
def test_the_last_line_of_each_document_is_the_newest_however_often_it_is_killed(
    folder: Path, database: MongoDatabase
) -> None:
    environ, random = {"SHOP_URI": database.uri}, Random(7)
    with database.client() as client, ThreadPoolExecutor(1) as pool:
        orders = client[database.name]["orders"]
        orders.insert_many([{"_id": name_of(each), "n": 0, "filling": FILLING} for each in range(FEW)])
        is_over = threading.Event()
        writing = pool.submit(write, database, is_over)
        try:
            for kills in range(3):
                with Program(folder, "run", environ=environ) as program:
                    until(lambda program=program: is_running(program), "the job runs")
                    if not kills:
                        until(lambda: arrived(folder), "the stream is open")
                        assert order(folder, environ)[0] == 0
                    time.sleep(random.uniform(0.2, 1))
                    program.send(signal.SIGKILL)
                    program.process.wait(timeout=30)
        finally:
            is_over.set()
        writing.result()

        with Program(folder, "run", environ=environ):
            orders.insert_one({"_id": "last", "n": 1})
            wanted = {name_of(each) for each in range(FEW)} | {"last"}
            until(lambda: wanted <= {each["_id"] for each in arrived(folder)}, "all have come through")
            held = {each["_id"]: each["n"] for each in orders.find({}, {"n": 1})}
            until(
                lambda: {each["_id"]: each["n"] for each in arrived(folder)} == held, "the newest of each is the last"
            )


def newest(folder: Path) -> dict[str, int]:
    """The last line of each document."""
    return {each["_id"]: each["n"] for each in arrived(folder)}


def write(database: MongoDatabase, is_over: threading.Event) -> None:
    """Change documents until it is over."""
    random, number = Random(5), 0
    with database.client() as client:
        orders = client[database.name]["orders"]
        while not is_over.wait(0.005):
            number += 1
            key = {"_id": name_of(random.randrange(FEW))}
            orders.replace_one(key, {**key, "n": number, "filling": FILLING})


def test_a_job_that_reads_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"n": 1}\n')
    (tmp_path / "mstream-config.toml").write_text(
        '[system]\nstate = "state.db"\n[[services]]\nprovider = "file"\nname = "files"\npath = "."\n'
        '[[connectors]]\nname = "orders"\nsource = { service_name = "files", resource = "in.jsonl" }\n'
        'sinks = [{ service_name = "files", resource = "out.jsonl" }]\n'
    )
    with Program(tmp_path, "run") as program:
        program.ready().close()
        until(lambda: arrived(tmp_path), "the job runs")
        code, said = order(tmp_path, {})

    assert (code, "cannot be read again" in said) == (1, True)
