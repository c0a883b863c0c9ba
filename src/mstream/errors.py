"""The whole exception tree, with code and retryable on every class.

MstreamError
├── ConfigError                      the file, or a definition, is not valid
├── UsageError                       a command was given wrongly
├── NotFound
│   ├── JobNotFound
│   └── ServiceNotFound
├── Conflict
│   ├── JobExists
│   ├── ServiceExists
│   ├── ServiceInUse
│   ├── PlanStale                    the plan that was shown no longer holds
│   └── IllegalTransition
├── Unavailable                      not now, perhaps later
├── ServiceError                     an outside system, or what speaks to it
│   ├── Unreachable                  retryable
│   ├── Throttled                    retryable
│   ├── StorageFull                  retryable
│   ├── NotYetSafe                   retryable; a flush that lost nothing
│   ├── AccessDenied
│   ├── ResourceMissing
│   ├── ProviderUnavailable          not built, or its extra is not installed
│   ├── SecretUnavailable            a reference that cannot be resolved
│   ├── GuaranteeUnavailable         the wiring cannot give what is asked for
│   ├── PositionLost
│   ├── PositionOfAnotherSource
│   └── OutcomeUnknown               a commit may or may not have happened
├── StoreError
│   ├── StoreUnreachable             retryable
│   ├── RevisionConflict
│   ├── StaleOwner
│   ├── StaleCheckpoint
│   ├── DeadLettersFull
│   ├── StoreTooNew
│   ├── StoreOwned                   another instance owns the store
│   └── DocumentDamaged              a stored document that cannot be used
├── KeyUnusable                      an encryption key that is missing, wrong, or not kept secret
├── RecordError                      this one record, for good
│   ├── DecodeError
│   ├── EncodeError
│   ├── ScriptError
│   └── RecordRefused
├── ScriptInvalid                    a script that cannot be compiled
├── SchemaInvalid                    a schema that cannot be understood
└── RunError                         why a run ended
    ├── RecordStopped                a refused record, `on_error = "stop"`
    ├── FailureBudgetSpent
    ├── RetriesExhausted
    ├── DrainTimeout
    ├── Halted                       another part of the run has failed first
    ├── LeaseLost                    retryable
    ├── Stalled                      retryable
    ├── WorkerLost                   retryable
    └── Crashed                      a fault of ours or a provider's; retryable
"""

from __future__ import annotations

from typing import ClassVar


class MstreamError(Exception):
    """Anything that mstream raises on purpose."""

    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False


class ConfigError(MstreamError):
    """The configuration file, or a definition, is not valid."""

    code = "config_invalid"


class UsageError(MstreamError):
    """A command was given wrongly."""

    code = "usage"


class NotFound(MstreamError):
    """What was named does not exist."""

    code = "not_found"


class JobNotFound(NotFound):
    """No job has this name."""

    code = "job_not_found"


class ServiceNotFound(NotFound):
    """No service has this name."""

    code = "service_not_found"


class Conflict(MstreamError):
    """It cannot be done in the present state."""

    code = "conflict"


class JobExists(Conflict):
    """A job of this name is there already."""

    code = "job_exists"


class ServiceExists(Conflict):
    """There is a service of that name already."""

    code = "service_exists"


class ServiceInUse(Conflict):
    """Jobs name the service; the message lists them."""

    code = "service_in_use"


class PlanStale(Conflict):
    """What was planned is no longer what would be done; look at the plan again."""

    code = "plan_stale"


class IllegalTransition(Conflict):
    """The job's intent does not allow this command."""

    code = "illegal_transition"


class Unavailable(MstreamError):
    """The program is not ready for this yet, or no longer."""

    code = "unavailable"
    retryable = True


class ServiceError(MstreamError):
    """An outside system answered with an error."""

    code = "service_failed"


class Unreachable(ServiceError):
    """The service cannot be reached; trying again later may work."""

    code = "service_unreachable"
    retryable = True


class Throttled(ServiceError):
    """The service asks for patience."""

    code = "service_throttled"
    retryable = True


class StorageFull(ServiceError):
    """The service, or the disk, has no room left."""

    code = "storage_full"
    retryable = True


class NotYetSafe(ServiceError):
    """A flush did not come through, and the sink still holds all that it was to make safe."""

    code = "not_yet_safe"
    retryable = True


class AccessDenied(ServiceError):
    """The service does not let us do this."""

    code = "access_denied"


class ResourceMissing(ServiceError):
    """The service has no such table, file, topic or collection."""

    code = "resource_missing"


class ProviderUnavailable(ServiceError):
    """The provider cannot run here: not built, or its extra is not installed."""

    code = "provider_unavailable"


class SecretUnavailable(ServiceError):
    """A reference to a secret cannot be resolved."""

    code = "secret_unavailable"


class GuaranteeUnavailable(ServiceError):
    """The wiring cannot give the delivery guarantee that is asked for."""

    code = "guarantee_unavailable"


class PositionLost(ServiceError):
    """The source no longer has what came after the stored position."""

    code = "position_lost"


class PositionOfAnotherSource(ServiceError):
    """The stored position belongs to a source that the job no longer reads."""

    code = "position_of_another_source"


class OutcomeUnknown(ServiceError):
    """A commit was sent and its answer was lost."""

    code = "outcome_unknown"


class StoreError(MstreamError):
    """The store refused a read or a write."""

    code = "store_failed"


class StoreUnreachable(StoreError):
    """The store cannot be reached; trying again later may work."""

    code = "store_unreachable"
    retryable = True


class RevisionConflict(StoreError):
    """The document is not, or no longer, at the expected revision."""

    code = "revision_conflict"


class StaleOwner(StoreError):
    """A newer owner has claimed the document."""

    code = "stale_owner"


class StaleCheckpoint(StoreError):
    """Somebody else has moved the checkpoint that this run claimed."""

    code = "stale_checkpoint"


class DeadLettersFull(StoreError):
    """The dead-letter collection has reached its limit."""

    code = "dead_letters_full"


class StoreTooNew(StoreError):
    """The store was written by a newer version of the program."""

    code = "store_too_new"


class StoreOwned(StoreError):
    """A live instance owns the store; the message names it."""

    code = "store_owned"


class DocumentDamaged(StoreError):
    """A stored document cannot be used; it stays as it is."""

    code = "document_damaged"


class KeyUnusable(MstreamError):
    """The encryption key is missing, wrong, malformed, or can be read by others."""

    code = "key_unusable"


class RecordError(MstreamError):
    """One record that a step or sink refuses for good."""

    code = "record_failed"


class DecodeError(RecordError):
    """The payload is not what its encoding says."""

    code = "record_undecodable"


class EncodeError(RecordError):
    """The document cannot be written in the wanted encoding."""

    code = "record_unencodable"


class ScriptError(RecordError):
    """The script raised an error for this record."""

    code = "script_failed"


class RecordRefused(RecordError):
    """The sink does not take this record."""

    code = "record_refused"


class ScriptInvalid(MstreamError):
    """The script cannot be compiled, or lacks its entry function."""

    code = "script_invalid"


class SchemaInvalid(MstreamError):
    """The schema cannot be understood, or does not fit the one that it is to be read by."""

    code = "schema_invalid"


class RunError(MstreamError):
    """Why a run ended before it was told to."""

    code = "run_failed"


class RecordStopped(RunError):
    """A record was refused and the policy is to stop."""

    code = "record_stopped"


class FailureBudgetSpent(RunError):
    """More records were given up than the failure budget allows."""

    code = "failure_budget_spent"


class RetriesExhausted(RunError):
    """The service did not come back within the allowed attempts."""

    code = "retries_exhausted"


class DrainTimeout(RunError):
    """What was under way could not be finished within the drain deadline."""

    code = "drain_timeout"


class Halted(RunError):
    """The run is ending; what was not begun is not begun any more."""

    code = "halted"


class LeaseLost(RunError):
    """The owner's lease ran out; the run stopped delivering by itself."""

    code = "lease_lost"
    retryable = True


class Stalled(RunError):
    """A stage was busy beyond its deadline."""

    code = "stalled"
    retryable = True


class WorkerLost(RunError):
    """The worker process of the run ended, or fell silent."""

    code = "worker_lost"
    retryable = True


class Crashed(RunError):
    """An unexpected fault, in mstream or in a provider."""

    code = "crashed"
    retryable = True
