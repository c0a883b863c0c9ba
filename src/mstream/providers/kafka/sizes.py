"""How large messages and requests of a producer may be, so that the topics take them; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Bytes of messages that a producer gathers into one request for a partition.
_REQUEST: Final = 1_000_000
#: Of one message where no topic says otherwise, as librdkafka has it, and the most that it can.
_MESSAGE: Final = 1_000_000
_LARGEST_MESSAGE: Final = 1_000_000_000


def fitting(limits: Iterable[int | None]) -> tuple[int, int]:
    """Bytes of a message, and of a request; by what each topic takes, where it is known."""
    known = [each for each in limits if each is not None]
    message = min(max(known, default=_MESSAGE), _LARGEST_MESSAGE)
    return message, min(_REQUEST, message, *known)
