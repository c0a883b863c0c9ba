"""Errors on their way to another process and into outcomes: codes and messages, never values."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from mstream.domain.run import Ending, Outcome
from mstream.errors import Crashed, MstreamError, ProviderUnavailable, ResourceMissing
from mstream.foundation.secrets import redacted
from mstream.runtimes.messages import Fault


def fault_of(error: BaseException) -> Fault:
    """What crosses in place of this error."""
    told = as_ours(error)
    return Fault(code=told.code, message=redacted(str(told)))


def error_of(fault: Fault) -> MstreamError:
    """The error again, of the class that has this code."""
    kind = next((each for each in _tree(MstreamError) if each.code == fault.code), Crashed)
    return kind(fault.message)


def failed(error: BaseException, *, charged: bool = False) -> Outcome:
    """The outcome of a run that ended with this error."""
    told = as_ours(error)
    return Outcome(
        ending=Ending.FAILED,
        reason=told.code,
        message=redacted(str(told)),
        retryable=told.retryable,
        charged=charged,
    )


def as_ours(error: BaseException) -> MstreamError:
    """The error itself if it is ours (of a group the first that is), else Crashed with its type and place.

    The text of a foreign error is left out: drivers put connection strings and records into it.
    """
    leaves = list(_leaves(error))
    for each in leaves:
        if isinstance(each, MstreamError):
            return each
    first = leaves[0]
    return _known(first) or Crashed(f"{type(first).__name__} in {_place(first)}")


def _known(error: BaseException) -> MstreamError | None:
    """What trying again does not mend, though nobody has expected it."""
    if isinstance(error, ImportError):
        return ProviderUnavailable(f"the module {error.name!r} cannot be imported here; install what it belongs to")
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return ResourceMissing("the working directory of this process was removed; start it again in one that stays")
    return None


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    last = frames[-1]
    return f"{last.name} ({last.filename}:{last.lineno})"


def _tree(root: type[MstreamError]) -> Iterator[type[MstreamError]]:
    yield root
    for each in root.__subclasses__():
        yield from _tree(each)
