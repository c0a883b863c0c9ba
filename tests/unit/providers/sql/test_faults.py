"""Every exception of every driver has a meaning."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import psycopg
import psycopg.errors
import pymysql.err
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mstream.errors import ServiceError, StoreError
from mstream.providers.sql.faults import ERRORS, Fault, fault_of, service_error, store_error, told


def classes(module: ModuleType, root: type[BaseException]) -> Iterator[type[BaseException]]:
    for _, each in inspect.getmembers(module, inspect.isclass):
        if issubclass(each, root):
            yield each


def of_sqlite(code: int, text: str = "planted") -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


POSTGRES = [each for each in classes(psycopg.errors, psycopg.Error) if getattr(each, "sqlstate", None)]


def test_there_are_exceptions_to_judge() -> None:
    assert len(POSTGRES) > 200


@pytest.mark.parametrize(
    "kind",
    [
        *classes(sqlite3, sqlite3.Error),
        *classes(psycopg.errors, psycopg.Error),
        *classes(pymysql.err, pymysql.err.MySQLError),
    ],
    ids=lambda each: f"{each.__module__}.{each.__name__}",
)
def test_every_exception_of_a_driver_becomes_an_error_of_ours(kind: type[BaseException]) -> None:
    for error in (kind("planted"), DBAPIError("SELECT", {}, kind("planted"))):
        assert isinstance(service_error(error, "table 'x'"), ServiceError)
        assert isinstance(store_error(error, "collection 'x'"), StoreError)


def test_every_fault_has_its_errors() -> None:
    assert set(ERRORS) == set(Fault)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (of_sqlite(5), Fault.BUSY),
        (of_sqlite(261), Fault.BUSY),
        (of_sqlite(6), Fault.BUSY),
        (of_sqlite(13), Fault.FULL),
        (of_sqlite(14), Fault.UNREACHABLE),
        (of_sqlite(778), Fault.UNREACHABLE),
        (of_sqlite(8), Fault.DENIED),
        (of_sqlite(1555), Fault.DUPLICATE),
        (of_sqlite(2067), Fault.DUPLICATE),
        (of_sqlite(1299), Fault.VALUE),
        (of_sqlite(18), Fault.VALUE),
        (of_sqlite(1, "no such table: x"), Fault.MISSING),
        (of_sqlite(1, "syntax"), Fault.OTHER),
        (of_sqlite(11), Fault.OTHER),
        (psycopg.errors.UniqueViolation(), Fault.DUPLICATE),
        (psycopg.errors.NotNullViolation(), Fault.VALUE),
        (psycopg.errors.NumericValueOutOfRange(), Fault.VALUE),
        (psycopg.errors.AdminShutdown(), Fault.UNREACHABLE),
        (psycopg.errors.QueryCanceled(), Fault.BUSY),
        (psycopg.errors.DeadlockDetected(), Fault.BUSY),
        (psycopg.errors.DiskFull(), Fault.FULL),
        (psycopg.errors.InvalidPassword(), Fault.DENIED),
        (psycopg.errors.InsufficientPrivilege(), Fault.DENIED),
        (psycopg.errors.UndefinedTable(), Fault.MISSING),
        (psycopg.errors.SyntaxError(), Fault.OTHER),
        (psycopg.OperationalError("connection refused"), Fault.UNREACHABLE),
        (psycopg.DataError("NUL"), Fault.VALUE),
        (pymysql.err.OperationalError(2006, "gone away"), Fault.UNREACHABLE),
        (pymysql.err.OperationalError(1053, "shutdown"), Fault.UNREACHABLE),
        (pymysql.err.OperationalError(1205, "lock wait"), Fault.BUSY),
        (pymysql.err.OperationalError(1213, "deadlock"), Fault.BUSY),
        (pymysql.err.OperationalError(1045, "denied"), Fault.DENIED),
        (pymysql.err.OperationalError(1114, "full"), Fault.FULL),
        (pymysql.err.ProgrammingError(1146, "no table"), Fault.MISSING),
        (pymysql.err.IntegrityError(1062, "planted"), Fault.DUPLICATE),
        (pymysql.err.DataError(1264, "planted"), Fault.VALUE),
        (pymysql.err.OperationalError(4025, "constraint"), Fault.VALUE),
        (pymysql.err.OperationalError(1060, "twice"), Fault.OTHER),
        (pymysql.err.InterfaceError(0, ""), Fault.UNREACHABLE),
        (ConnectionResetError(), Fault.UNREACHABLE),
        (PoolTimeout(), Fault.UNREACHABLE),
        (OverflowError(), Fault.VALUE),
        ("\ud800", Fault.VALUE),
    ],
    ids=lambda each: f"{type(each).__name__}" if not isinstance(each, Fault) else each.name,
)
def test_faults_are_told_apart(error: Any, fault: Fault) -> None:
    if isinstance(error, str):
        with pytest.raises(UnicodeEncodeError) as caught:
            error.encode()
        error = caught.value

    assert fault_of(error) is fault


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.BUSY, Fault.FULL])
def test_what_may_be_over_later_is_retryable(fault: Fault) -> None:
    assert all(each.retryable for each in ERRORS[fault])


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.MISSING, Fault.OTHER, Fault.DUPLICATE, Fault.VALUE])
def test_what_will_not_be_over_is_not(fault: Fault) -> None:
    assert not any(each.retryable for each in ERRORS[fault])


@pytest.mark.parametrize(
    "error",
    [
        pymysql.err.IntegrityError(1062, "Duplicate entry 'planted' for key 'PRIMARY'"),
        pymysql.err.DataError(1366, "Incorrect value: 'planted'"),
        pymysql.err.ProgrammingError(1064, "syntax near 'planted'"),
        psycopg.errors.InvalidTextRepresentation("invalid input: planted"),
        psycopg.OperationalError("connection to postgresql://me:planted@h/x failed"),
        of_sqlite(19, "planted"),
    ],
    ids=repr,
)
def test_a_value_or_a_secret_in_a_drivers_text_is_not_told(error: Exception) -> None:
    assert "planted" not in told(error)


def test_where_no_value_can_be_the_drivers_text_helps() -> None:
    assert "Access denied" in told(pymysql.err.OperationalError(1045, "Access denied for user 'me'"))
