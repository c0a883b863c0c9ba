"""Exit codes: the same of every command."""

from __future__ import annotations

from enum import IntEnum

from mstream.errors import ConfigError, MstreamError, UsageError


class Exit(IntEnum):
    """What a command ends with."""

    #: Done; also a run that a signal has drained.
    FINE = 0
    FAILURE = 1
    USAGE = 2
    #: The file is not valid, or there are findings.
    FINDINGS = 3
    #: Cut short by a second SIGINT.
    INTERRUPTED = 130
    #: Cut short by a second SIGTERM.
    TERMINATED = 143


def exit_of(error: MstreamError) -> Exit:
    """The code of a command that an error has ended."""
    match error:
        case UsageError():
            return Exit.USAGE
        case ConfigError():
            return Exit.FINDINGS
        case _:
            return Exit.FAILURE
