"""Knowing every provider takes no driver, and no exception of a driver is met unjudged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import bson.errors
import pymongo.errors

from mstream.errors import StoreError
from mstream.providers.mongodb import faults as mongodb
from tests.architecture.source import PACKAGE, ROOT

DRIVERS = {
    "aiohttp",
    "bson",
    "confluent_kafka",
    "fastavro",
    "google",
    "grpc",
    "httpx",
    "opentelemetry",
    "psycopg",
    "pymongo",
    "pymysql",
    "ray",
    "sqlalchemy",
    "sqlite3",
}

PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_drivers(names: list[str], source: Path) -> set[str]:
    """Which drivers a fresh Python has loaded after importing these modules."""
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, *names],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    return DRIVERS.intersection(json.loads(answer.stdout))


def test_the_catalog_loads_no_driver() -> None:
    assert loaded_drivers(["mstream.providers"], ROOT / "src") == set()


def test_no_config_model_loads_a_driver() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("providers/*/config.py")}
    names = [f"mstream.providers.{each}.config" for each in sorted(folders)]

    assert loaded_drivers(names, ROOT / "src") == set()


def test_a_loaded_driver_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("import sqlalchemy\n")

    assert "sqlalchemy" in loaded_drivers(["planted"], tmp_path)


def unjudged(modules: list[ModuleType], judged: Mapping[type[BaseException], object]) -> list[str]:
    """Exception classes of these modules that have no line of their own."""
    classes = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == module.__name__
    }
    return sorted(each.__name__ for each in classes - set(judged))


def test_every_exception_of_the_mongodb_driver_is_judged() -> None:
    assert unjudged([pymongo.errors, bson.errors], mongodb.CLASSES) == []


def test_an_exception_that_is_not_judged_is_noticed() -> None:
    judged = {each: fault for each, fault in mongodb.CLASSES.items() if each is not pymongo.errors.CursorNotFound}

    assert unjudged([pymongo.errors, bson.errors], judged) == ["CursorNotFound"]


def test_every_fault_of_mongodb_is_an_error_of_a_store() -> None:
    for each in mongodb.CLASSES:
        error = each.__new__(each)
        assert isinstance(mongodb.store_error(error, "collection 'x'"), StoreError)
