"""What an error of the client means: one table by its code; texts without secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from mstream.errors import (
    AccessDenied,
    MstreamError,
    PositionLost,
    RecordRefused,
    ResourceMissing,
    ServiceError,
    Throttled,
    Unreachable,
)
from mstream.foundation.secrets import MASK, redacted


class Fault(Enum):
    """The kinds of failure that are told apart."""

    #: No answer, no leader, too few replicas: the same may work later.
    UNREACHABLE = auto()
    #: The client, or a quota of the cluster, asks for patience.
    BUSY = auto()
    #: Membership of the group has changed; a consumer joins again.
    MEMBERSHIP = auto()
    #: Who we are was not believed.
    AUTHENTICATION = auto()
    #: No agreement on TLS, or a certificate that is not trusted.
    TLS = auto()
    #: Who we are may not do this.
    AUTHORISATION = auto()
    #: No such topic, partition or group.
    MISSING = auto()
    EXISTS = auto()
    #: A record, or the batch that it came in, is too large.
    TOO_LARGE = auto()
    #: A record that the topic does not take.
    RECORD = auto()
    #: An offset that the partition does not have, or no longer.
    OFFSET = auto()
    #: A younger producer, or member, has taken this one's place.
    FENCED = auto()
    #: What the cluster knows of this producer is lost, or a batch failed for one of its records: a new producer begins
    #: anew.
    SEQUENCE = auto()
    #: Settings of the client, or what is asked for with them.
    SETTINGS = auto()
    #: The client was closed, or gave it up as told.
    CLOSED = auto()
    OTHER = auto()


#: Every code of the client stands here by name: a new one must be judged before it is met.
NAMES: Final[Mapping[Fault, str]] = {
    Fault.UNREACHABLE: """
        _TRANSPORT _RESOLVE _MSG_TIMED_OUT _ALL_BROKERS_DOWN _TIMED_OUT _TIMED_OUT_QUEUE _ISR_INSUFF _NODE_UPDATE
        _WAIT_COORD _WAIT_CACHE _RETRY _UNKNOWN_BROKER _DESTROY_BROKER _OUTDATED _INTR _BAD_MSG _PARTIAL _UNDERFLOW
        LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE
        STALE_CTRL_EPOCH NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR
        NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND NOT_CONTROLLER KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND
        REASSIGNMENT_IN_PROGRESS FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND
        FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE
        ELIGIBLE_LEADERS_NOT_AVAILABLE UNSTABLE_OFFSET_COMMIT UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID
        UNKNOWN_CONTROLLER_ID REBOOTSTRAP_REQUIRED CONCURRENT_TRANSACTIONS OPERATION_NOT_ATTEMPTED
    """,
    Fault.BUSY: "_QUEUE_FULL THROTTLING_QUOTA_EXCEEDED _IN_PROGRESS _PREV_IN_PROGRESS",
    Fault.MEMBERSHIP: """
        ILLEGAL_GENERATION UNKNOWN_MEMBER_ID REBALANCE_IN_PROGRESS MEMBER_ID_REQUIRED FENCED_MEMBER_EPOCH
        STALE_MEMBER_EPOCH UNRELEASED_INSTANCE_ID _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED _UNKNOWN_GROUP
    """,
    Fault.AUTHENTICATION: """
        _AUTHENTICATION SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE
        DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
        DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_EXPIRED INVALID_PRINCIPAL_TYPE UNACCEPTABLE_CREDENTIAL
        PRINCIPAL_DESERIALIZATION_FAILURE
    """,
    Fault.TLS: "_SSL",
    Fault.AUTHORISATION: """
        TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED SECURITY_DISABLED
        TOPIC_DELETION_DISABLED
    """,
    Fault.MISSING: """
        _UNKNOWN_TOPIC _UNKNOWN_PARTITION _NOENT UNKNOWN_TOPIC_OR_PART TOPIC_EXCEPTION GROUP_ID_NOT_FOUND
        RESOURCE_NOT_FOUND UNKNOWN_SUBSCRIPTION_ID
    """,
    Fault.EXISTS: "TOPIC_ALREADY_EXISTS DUPLICATE_RESOURCE _EXISTING_SUBSCRIPTION _CONFLICT",
    Fault.TOO_LARGE: "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG_SIZE",
    Fault.RECORD: """
        INVALID_MSG INVALID_RECORD INVALID_TIMESTAMP _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION
        _VALUE_DESERIALIZATION
    """,
    Fault.OFFSET: "OFFSET_OUT_OF_RANGE _NO_OFFSET _AUTO_OFFSET_RESET _LOG_TRUNCATION",
    Fault.FENCED: """
        _FENCED PRODUCER_FENCED INVALID_PRODUCER_EPOCH FENCED_INSTANCE_ID TRANSACTION_COORDINATOR_FENCED
        STREAMS_TOPOLOGY_FENCED
    """,
    Fault.SEQUENCE: """
        _GAPLESS_GUARANTEE OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID
        INVALID_PRODUCER_ID_MAPPING _INCONSISTENT _INVALID_DIFFERENT_RECORD
    """,
    Fault.SETTINGS: """
        _INVALID_ARG _UNKNOWN_PROTOCOL _NOT_IMPLEMENTED _UNSUPPORTED_FEATURE _NOT_CONFIGURED _INVALID_TYPE _READ_ONLY
        INVALID_REQUIRED_ACKS INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID INVALID_SESSION_TIMEOUT
        INVALID_COMMIT_OFFSET_SIZE OFFSET_METADATA_TOO_LARGE UNSUPPORTED_VERSION INVALID_PARTITIONS
        INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG INVALID_REQUEST
        UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION INVALID_TRANSACTION_TIMEOUT UNSUPPORTED_COMPRESSION_TYPE
        GROUP_MAX_SIZE_REACHED UNSUPPORTED_ASSIGNOR INVALID_REGULAR_EXPRESSION MISMATCHED_ENDPOINT_TYPE
        UNSUPPORTED_ENDPOINT_TYPE
    """,
    Fault.CLOSED: "_DESTROY _PURGE_QUEUE _PURGE_INFLIGHT",
    Fault.OTHER: """
        NO_ERROR UNKNOWN _BAD_COMPRESSION _FAIL _CRIT_SYS_RESOURCE _PARTITION_EOF _FS _ASSIGN_PARTITIONS
        _REVOKE_PARTITIONS _STATE _FATAL _APPLICATION _NOOP INVALID_TXN_STATE TRANSACTION_ABORTABLE NON_EMPTY_GROUP
        GROUP_SUBSCRIBED_TO_TOPIC ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS INCONSISTENT_VOTER_SET
        INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED TELEMETRY_TOO_LARGE INVALID_REGISTRATION INVALID_RECORD_STATE
        SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH SHARE_SESSION_LIMIT_REACHED FENCED_STATE_EPOCH
        INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH
    """,
}

#: By number; codes that this version of the client does not have are left out.
CODES: Final[Mapping[int, Fault]] = {
    getattr(KafkaError, name): fault
    for fault, names in NAMES.items()
    for name in names.split()
    if hasattr(KafkaError, name)
}

#: What is wrong with one record, for good.
OF_A_RECORD: Final = frozenset({Fault.TOO_LARGE, Fault.RECORD})
#: What an operator must mend; the client itself would try for ever.
HOPELESS: Final = frozenset({Fault.AUTHENTICATION, Fault.TLS})

#: In the text of an error of TLS: nobody is trusted. Without it a connection may just have been cut.
_DISTRUST: Final = "verif"

#: Everything that a call to the client may raise.
FAILURES: Final = (KafkaException, BufferError, OSError)

_ERRORS: Final[Mapping[Fault, type[MstreamError]]] = {
    Fault.UNREACHABLE: Unreachable,
    Fault.MEMBERSHIP: Unreachable,
    Fault.SEQUENCE: Unreachable,
    Fault.CLOSED: Unreachable,
    Fault.BUSY: Throttled,
    Fault.AUTHENTICATION: AccessDenied,
    Fault.TLS: AccessDenied,
    Fault.AUTHORISATION: AccessDenied,
    Fault.MISSING: ResourceMissing,
    Fault.OFFSET: PositionLost,
    Fault.TOO_LARGE: RecordRefused,
    Fault.RECORD: RecordRefused,
}

_ADVICE: Final[Mapping[Fault, str]] = {
    Fault.UNREACHABLE: "check bootstrap.servers, and that the brokers' own addresses are known here",
    Fault.AUTHENTICATION: "check security.protocol, sasl.mechanism, sasl.username and sasl.password",
    Fault.TLS: "check security.protocol, ssl.ca.location and the certificate of the broker",
    Fault.AUTHORISATION: "grant the service's user what it needs on the topic, the group and the transactional id",
    Fault.MISSING: "create it, or name another",
    Fault.TOO_LARGE: "raise max.message.bytes of the topic, and message.max.bytes of the service where it is set",
    Fault.FENCED: "another one with the same identity has taken its place",
    Fault.SETTINGS: "check the options of the service",
}


@contextmanager
def unwrapped() -> Iterator[None]:
    """A fatal error that the client meets while it reports comes as itself, and not as the report's failure."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise


def fault_of(error: BaseException | KafkaError) -> Fault:
    """What went wrong; never raises."""
    code = code_of(error)
    if code == KafkaError._SSL and _DISTRUST not in str(error):  # noqa: SLF001 - the client's name for it
        return Fault.UNREACHABLE
    if code is not None:
        return CODES.get(code, Fault.OTHER)
    if isinstance(error, BufferError):
        return Fault.BUSY
    return Fault.UNREACHABLE if isinstance(error, OSError) else Fault.OTHER


def code_of(error: BaseException | KafkaError) -> int | None:
    """The client's number for it; None: it comes from elsewhere."""
    kafka_error = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return kafka_error.code() if isinstance(kafka_error, KafkaError) else None


def told(error: BaseException | KafkaError, hidden: Collection[str] = ()) -> str:
    """What may be told of an error: its name, the client's text without secrets, and what to do."""
    kafka_error = error.args[0] if isinstance(error, KafkaException) and error.args else error
    if isinstance(kafka_error, KafkaError):
        text = f"{kafka_error.name()}: {masked(kafka_error.str(), hidden)}"
    else:
        text = type(error).__name__
    advice = _ADVICE.get(fault_of(error))
    return f"{text}; {advice}" if advice else text


def masked(text: str, hidden: Collection[str]) -> str:
    """The first line of a text, without user info in URLs and without these values."""
    first = text.partition("\n")[0]
    for each in sorted(hidden, key=len, reverse=True):
        first = first.replace(each, MASK)
    return redacted(first)[:300]


def kafka_error(error: BaseException | KafkaError, what: str, hidden: Collection[str] = ()) -> MstreamError:
    """Ours for it: a RecordRefused where one record is meant, a ServiceError otherwise."""
    return _ERRORS.get(fault_of(error), ServiceError)(f"{what}: {told(error, hidden)}")


def service_error(error: BaseException | KafkaError, what: str, hidden: Collection[str] = ()) -> ServiceError:
    """The same where no record is meant."""
    found = _ERRORS.get(fault_of(error), ServiceError)
    kind = found if issubclass(found, ServiceError) else ServiceError
    return kind(f"{what}: {told(error, hidden)}")
