"""What a driver's exception means: one table for all three databases."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mstream.errors import (
    AccessDenied,
    MstreamError,
    ResourceMissing,
    RevisionConflict,
    ServiceError,
    StorageFull,
    StoreError,
    StoreUnreachable,
    Throttled,
    Unreachable,
)
from mstream.foundation.secrets import MASK, redacted


class Fault(Enum):
    """The kinds of failure that are told apart."""

    #: No answer, or a connection that is gone.
    UNREACHABLE = auto()
    #: Somebody else is at it, or it took too long; nothing was changed.
    BUSY = auto()
    FULL = auto()
    DENIED = auto()
    #: No such table, column or database.
    MISSING = auto()
    #: A row with this key is there already.
    DUPLICATE = auto()
    #: A value that the database does not take.
    VALUE = auto()
    OTHER = auto()


#: Fault -> what a sink raises, what a store raises.
ERRORS: dict[Fault, tuple[type[ServiceError], type[StoreError]]] = {
    Fault.UNREACHABLE: (Unreachable, StoreUnreachable),
    Fault.BUSY: (Throttled, StoreUnreachable),
    Fault.FULL: (StorageFull, StoreUnreachable),
    Fault.DENIED: (AccessDenied, StoreError),
    Fault.MISSING: (ResourceMissing, StoreError),
    Fault.DUPLICATE: (ServiceError, RevisionConflict),
    Fault.VALUE: (ServiceError, StoreError),
    Fault.OTHER: (ServiceError, StoreError),
}

#: A driver's text may hold a value of a record, except where the fault has nothing to do with values.
_TELLING = frozenset({Fault.UNREACHABLE, Fault.BUSY, Fault.FULL, Fault.DENIED, Fault.MISSING})

#: How servers name the account that they refuse: it stands in the URL beside the password.
_ACCOUNT = re.compile(r"""\b(?P<kind>user|role)\s+(?P<quote>["'])(?:(?!(?P=quote)).)*(?P=quote)""", re.IGNORECASE)

#: Faults of a single record.
OF_A_RECORD = frozenset({Fault.VALUE, Fault.DUPLICATE})

#: What drivers raise beside their own exceptions: for values that they cannot send, for sockets that break.
BESIDE_DRIVER = (OverflowError, UnicodeEncodeError, OSError)

# Primary and extended result codes of SQLite.
_SQLITE = {
    **dict.fromkeys((5, 6, 15), Fault.BUSY),
    **dict.fromkeys((10, 14), Fault.UNREACHABLE),
    13: Fault.FULL,
    **dict.fromkeys((3, 8, 23), Fault.DENIED),
    **dict.fromkeys((1555, 2067, 2579), Fault.DUPLICATE),
    **dict.fromkeys((18, 19, 20), Fault.VALUE),
}

# SQLSTATE of PostgreSQL, or its class; the longer one wins.
_POSTGRESQL = {
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "25P03", "58"), Fault.UNREACHABLE),
    **dict.fromkeys(("40", "53", "55P03", "57014"), Fault.BUSY),
    "53100": Fault.FULL,
    **dict.fromkeys(("25006", "28", "42501"), Fault.DENIED),
    **dict.fromkeys(("3D", "3F", "42P01", "42703"), Fault.MISSING),
    "23505": Fault.DUPLICATE,
    **dict.fromkeys(("21", "22", "23", "54", "42804"), Fault.VALUE),
}

# How PostgreSQL refuses a connection for good.
_REFUSALS = {
    "authentication failed": Fault.DENIED,
    "no pg_hba.conf entry": Fault.DENIED,
    "pg_hba.conf rejects": Fault.DENIED,
    "no password supplied": Fault.DENIED,
    "is not permitted to log in": Fault.DENIED,
    "permission denied for database": Fault.DENIED,
    '" does not exist': Fault.MISSING,
}

# Error numbers of MariaDB and MySQL.
_MYSQL = {
    **dict.fromkeys((1053, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031), Fault.UNREACHABLE),
    **dict.fromkeys(range(2000, 2060), Fault.UNREACHABLE),
    **dict.fromkeys((1040, 1203, 1205, 1213, 1226, 1317, 1969, 3024), Fault.BUSY),
    **dict.fromkeys((1021, 1114), Fault.FULL),
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1290, 1698, 1792, 1836), Fault.DENIED),
    **dict.fromkeys((1049, 1054, 1146), Fault.MISSING),
    **dict.fromkeys((1062, 1586), Fault.DUPLICATE),
    **dict.fromkeys((1048, 1118, 1153, 1216, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406), Fault.VALUE),
    **dict.fromkeys((1451, 1452, 1690, 1973, 3140, 3819, 4025), Fault.VALUE),
}

# What is left is judged by the class that all drivers share (PEP 249).
_CLASSES = {
    "DataError": Fault.VALUE,
    "IntegrityError": Fault.VALUE,
    "InterfaceError": Fault.UNREACHABLE,
    "OperationalError": Fault.UNREACHABLE,
}


def fault_of(error: BaseException) -> Fault:
    """What went wrong; never raises."""
    raw: Any = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    match type(raw).__module__.partition(".")[0]:
        case "sqlite3" | "_sqlite3":
            return _of_sqlite(raw)
        case "psycopg":
            return _of_sqlstate(raw.sqlstate) if getattr(raw, "sqlstate", None) else _of_refusal(raw)
        case "pymysql":
            return _of_number(raw)
    if isinstance(raw, OverflowError | UnicodeEncodeError):
        return Fault.VALUE
    return Fault.UNREACHABLE if isinstance(raw, OSError | PoolTimeout) else _by_class(raw)


def _of_sqlite(raw: Any) -> Fault:
    code = getattr(raw, "sqlite_errorcode", None)
    if code is None:
        by_class = _by_class(raw)
        return Fault.OTHER if by_class is Fault.UNREACHABLE else by_class
    text = str(raw)
    if code == 1 and (text.startswith("no such table") or "no column named" in text or "no such column" in text):
        return Fault.MISSING
    return _SQLITE.get(code, _SQLITE.get(code & 0xFF, Fault.OTHER))


def _of_sqlstate(state: str) -> Fault:
    return _POSTGRESQL.get(state, _POSTGRESQL.get(state[:2], Fault.OTHER))


def _of_refusal(raw: Any) -> Fault:
    """A connection that PostgreSQL refuses comes without a state: its text must do, where it is an English one."""
    text = str(raw)
    return next((fault for part, fault in _REFUSALS.items() if part in text), _by_class(raw))


def _of_number(raw: Any) -> Fault:
    number = raw.args[0] if raw.args else None
    if isinstance(number, int) and number in _MYSQL:
        return _MYSQL[number]
    by_class = _by_class(raw)
    # With a number of its own, the server has answered.
    answered = isinstance(number, int) and number > 0
    return Fault.OTHER if answered and by_class is Fault.UNREACHABLE else by_class


def _by_class(raw: BaseException) -> Fault:
    names = (each.__name__ for each in type(raw).__mro__)
    return next((_CLASSES[each] for each in names if each in _CLASSES), Fault.OTHER)


def told(error: BaseException) -> str:
    """What may be told of a driver's exception: its text only where no value can stand in it."""
    raw: Any = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(raw, "sqlite_errorname", None) or getattr(raw, "sqlstate", None)
    if code is None and isinstance(raw.args[0] if raw.args else None, int):
        code = raw.args[0]
    text = type(raw).__name__ if code is None else f"{type(raw).__name__} {code}"
    if fault_of(error) in _TELLING and not isinstance(raw, UnicodeEncodeError):
        first = str(raw.args[1] if len(raw.args) > 1 else raw).strip().partition("\n")[0]
        text = f"{text}: {redacted(_ACCOUNT.sub(_masked, first))}"
    return text


def _masked(found: re.Match[str]) -> str:
    return f"{found['kind']} {found['quote']}{MASK}{found['quote']}"


def service_error(error: BaseException, what: str) -> MstreamError:
    """The error of a sink or of a service."""
    return ERRORS[fault_of(error)][0](f"{what}: {told(error)}")


#: What to do about a store that refuses.
_ADVICE = {
    Fault.FULL: "make room, then it goes on by itself",
    Fault.DENIED: "the store must be writable for this account, the database must not be read-only",
}


def store_error(error: BaseException, what: str) -> StoreError:
    """The error of a document store."""
    fault = fault_of(error)
    advice = f"; {_ADVICE[fault]}" if fault in _ADVICE else ""
    return ERRORS[fault][1](f"{what}: {told(error)}{advice}")
