"""What an exception of the driver means: one table by class, one by the server's code."""

from __future__ import annotations

from enum import Enum, auto

from bson import errors as bson_errors
from pymongo import errors

from mstream.errors import (
    AccessDenied,
    RevisionConflict,
    ServiceError,
    StorageFull,
    StoreError,
    StoreUnreachable,
    Throttled,
    Unreachable,
)
from mstream.foundation.secrets import redacted


class Fault(Enum):
    """The kinds of failure that are told apart."""

    #: No answer, no primary, or too late an answer: what was sent may have been done.
    UNREACHABLE = auto()
    #: Somebody else is at it; nothing was changed.
    BUSY = auto()
    FULL = auto()
    DENIED = auto()
    #: The connection string, or an option in it.
    SETTINGS = auto()
    #: A document with this `_id`, or this key, is there already.
    DUPLICATE = auto()
    #: A value, or a name, that the server does not take.
    VALUE = auto()
    OTHER = auto()


#: Every class of the driver stands here by name: a new one must be judged before it is met.
CLASSES: dict[type[BaseException], Fault] = {
    errors.PyMongoError: Fault.OTHER,
    errors.ProtocolError: Fault.UNREACHABLE,
    errors.ConnectionFailure: Fault.UNREACHABLE,
    errors.WaitQueueTimeoutError: Fault.UNREACHABLE,
    errors.AutoReconnect: Fault.UNREACHABLE,
    errors.NetworkTimeout: Fault.UNREACHABLE,
    errors.NotPrimaryError: Fault.UNREACHABLE,
    errors.ServerSelectionTimeoutError: Fault.UNREACHABLE,
    errors.ConfigurationError: Fault.SETTINGS,
    errors.InvalidURI: Fault.SETTINGS,
    errors.OperationFailure: Fault.OTHER,
    errors.CursorNotFound: Fault.UNREACHABLE,
    errors.ExecutionTimeout: Fault.UNREACHABLE,
    errors.WriteConcernError: Fault.UNREACHABLE,
    errors.WTimeoutError: Fault.UNREACHABLE,
    errors.WriteError: Fault.VALUE,
    errors.DuplicateKeyError: Fault.DUPLICATE,
    errors.BulkWriteError: Fault.OTHER,
    errors.ClientBulkWriteException: Fault.OTHER,
    errors.InvalidOperation: Fault.OTHER,
    errors.InvalidName: Fault.VALUE,
    errors.CollectionInvalid: Fault.OTHER,
    errors.DocumentTooLarge: Fault.VALUE,
    errors.EncryptionError: Fault.OTHER,
    errors.EncryptedCollectionError: Fault.OTHER,
    bson_errors.BSONError: Fault.VALUE,
    bson_errors.InvalidBSON: Fault.VALUE,
    bson_errors.InvalidStringData: Fault.VALUE,
    bson_errors.InvalidDocument: Fault.VALUE,
    bson_errors.InvalidId: Fault.VALUE,
    OverflowError: Fault.VALUE,
    UnicodeEncodeError: Fault.VALUE,
    OSError: Fault.UNREACHABLE,
}

# A private class that can reach a caller all the same.
CLASSES |= {each: Fault.UNREACHABLE for each in (getattr(errors, "_OperationCancelled", None),) if each}

#: Everything that a call to the driver may raise.
FAILURES = (errors.PyMongoError, bson_errors.BSONError, OverflowError, UnicodeEncodeError, OSError)

# Codes of the server; they say more than the class.
_CODES = {
    **dict.fromkeys((6, 7, 50, 63, 64, 89, 91, 133, 134, 150, 189, 202, 234), Fault.UNREACHABLE),
    **dict.fromkeys((262, 290, 291, 9001, 10058, 10107, 11600, 11602, 13388, 13435, 13436), Fault.UNREACHABLE),
    **dict.fromkeys((24, 112, 225, 244, 251), Fault.BUSY),
    **dict.fromkeys((12501, 14031), Fault.FULL),
    **dict.fromkeys((11, 13, 18, 31, 33, 8000), Fault.DENIED),
    **dict.fromkeys((79, 100), Fault.SETTINGS),
    **dict.fromkeys((11000, 11001, 12582), Fault.DUPLICATE),
    **dict.fromkeys((2, 9, 22, 40, 52, 56, 57, 73, 121, 10334, 17280, 17419, 17420), Fault.VALUE),
}

#: Faults of a single record.
OF_A_RECORD = frozenset({Fault.VALUE, Fault.DUPLICATE, Fault.OTHER})

#: Failures of the way to a server: what they tell is not the server's own text.
_SPEAKING = (errors.ConnectionFailure, OSError)

#: With these a server says that it knows no linearizable reads.
REFUSES_LINEARIZABLE = frozenset({2, 9, 72, 115, 123, 148, 238, 303})

_ERRORS: dict[Fault, type[StoreError]] = {
    Fault.UNREACHABLE: StoreUnreachable,
    Fault.BUSY: StoreUnreachable,
    Fault.FULL: StoreUnreachable,
    Fault.DUPLICATE: RevisionConflict,
}
_SERVICE_ERRORS: dict[Fault, type[ServiceError]] = {
    Fault.UNREACHABLE: Unreachable,
    Fault.BUSY: Throttled,
    Fault.FULL: StorageFull,
    Fault.DENIED: AccessDenied,
}
_ADVICE = {
    Fault.FULL: "make room on its disk",
    Fault.DENIED: "check user, password and authSource; the user needs the role readWrite on the database",
    Fault.SETTINGS: (
        "check the service's connection_string: mongodb://user:password@host:port/?option=value, and its write_concern"
    ),
    Fault.VALUE: "the server does not take a name or a value in it",
}


def fault_of(error: BaseException) -> Fault:
    """What went wrong; never raises."""
    if isinstance(error, errors.ConfigurationError) and type(error.__cause__).__module__.startswith("dns."):
        return Fault.UNREACHABLE
    code = getattr(error, "code", None)
    if isinstance(error, errors.PyMongoError) and code in _CODES:
        return _CODES[code]
    return next((CLASSES[each] for each in type(error).__mro__ if each in CLASSES), Fault.OTHER)


def told(error: BaseException) -> str:
    """What may be told of an exception: its text only where neither a value nor a URL can stand in it."""
    code = getattr(error, "code", None)
    text = type(error).__name__ if code is None else f"{type(error).__name__} {code}"
    fault = fault_of(error)
    if isinstance(error, _SPEAKING) and not isinstance(error, errors.NotPrimaryError):
        first = str(error).partition("\n")[0].partition(", Timeout:")[0]
        text = f"{text}: {redacted(first)[:300]}"
    return f"{text}; {_ADVICE[fault]}" if fault in _ADVICE else text


def store_error(error: BaseException, what: str) -> StoreError:
    """The error of a document store."""
    return _ERRORS.get(fault_of(error), StoreError)(f"{what}: {told(error)}")


def service_error(error: BaseException, what: str) -> ServiceError:
    """The error of a source or a sink."""
    return _SERVICE_ERRORS.get(fault_of(error), ServiceError)(f"{what}: {told(error)}")
