"""Cursors of v0.47: BSON bytes that say where a change stream or one Kafka partition stood.

As positions they are
- a change stream's resume token: lane "", position `{"_data": …}`, the token itself;
- a Kafka partition: lane `topic/partition`, position `{"next_offset": n}`, the first message that was not processed
  (v0.47 wrote the last one that was), and with it a `topic_id` where the cluster has told it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from mstream.domain.checkpoint import Lane, Position
from mstream.errors import DecodeError, ProviderUnavailable

#: The field of a resume token that every token has.
_DATA: Final = "_data"
_NEXT: Final = "next_offset"
_TOPIC: Final = "topic_id"
#: Topics have no other characters.
_PARTITION: Final = re.compile(r"([A-Za-z0-9._-]{1,249})/(0|[1-9][0-9]{0,9})")
_LARGEST: Final = (1 << 63) - 1


def partition_lane(topic: str, partition: int) -> Lane:
    """The lane of a Kafka partition."""
    return f"{topic}/{partition}"


def partition_position(next_offset: int, topic_id: str | None = None) -> Position:
    """The position of a Kafka partition whose next message has this offset; a topic made anew has another id."""
    return {_NEXT: next_offset} if topic_id is None else {_NEXT: next_offset, _TOPIC: topic_id}


def positions_of(cursor: object) -> dict[Lane, Position]:
    """What a cursor says, as positions.

    Raises DecodeError when it is none, ProviderUnavailable where BSON cannot be read.
    """
    document = _decoded(_bytes_of(cursor))
    match document:
        case {"topic": str(topic), "partition": int(partition), "offset": int(offset)} if offset >= 0:
            lane = partition_lane(topic, partition)
            if _PARTITION.fullmatch(lane):
                return {lane: partition_position(offset + 1)}
        case {"_data": _}:
            return {"": document}
    message = "the cursor is neither a change stream's nor that of a Kafka partition"
    raise DecodeError(message)


def cursor_of(positions: Mapping[Lane, Position]) -> list[int] | None:
    """The cursor with which v0.47 would go on from there, as it stores one; None: it could not, or BSON is not here."""
    if len(positions) != 1:
        return None
    ((lane, position),) = positions.items()
    document = _token(lane, position) or _partition(lane, position)
    if document is None or find_spec("bson") is None:
        return None
    data = _encoded(document)
    return None if data is None else list(data)


def _token(lane: Lane, position: Position) -> dict[str, Any] | None:
    is_token = lane == "" and isinstance(position, Mapping) and position.get(_DATA)
    return dict(position) if is_token and all(each.startswith("_") for each in position) else None


def _partition(lane: Lane, position: Position) -> dict[str, Any] | None:
    found = _PARTITION.fullmatch(lane)
    if found is None or not isinstance(position, Mapping) or set(position) - {_TOPIC} != {_NEXT}:
        return None
    following, partition = position[_NEXT], int(found[2])
    if not isinstance(following, int) or not 0 < following <= _LARGEST or partition >= 1 << 31:
        # Nothing was processed yet: v0.47 cannot say so.
        return None
    return {"topic": found[1], "partition": partition, "offset": {"$numberLong": str(following - 1)}}


def _bytes_of(cursor: object) -> bytes:
    """An array of numbers, or bytes: v0.47 has stored both."""
    try:
        if isinstance(cursor, bytes | list | tuple):
            return bytes(cursor)
    except (TypeError, ValueError):
        pass
    message = "the cursor is not made of bytes"
    raise DecodeError(message)


def _decoded(data: bytes) -> dict[str, Any]:
    if find_spec("bson") is None:
        message = (
            "a position that v0.47 has left can be read with a package that is not installed:"
            " pip install 'mstream[mongodb]'"
        )
        raise ProviderUnavailable(message)
    import bson  # noqa: PLC0415 - only who has such a cursor needs it
    from bson import json_util  # noqa: PLC0415 - the same
    from bson.errors import BSONError  # noqa: PLC0415 - the same

    try:
        text = json_util.dumps(bson.decode(data), json_options=json_util.RELAXED_JSON_OPTIONS)
    except (BSONError, ValueError, TypeError, OverflowError):
        message = "the cursor is no BSON document"
        raise DecodeError(message) from None
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def _encoded(document: dict[str, Any]) -> bytes | None:
    import bson  # noqa: PLC0415 - as above
    from bson import json_util  # noqa: PLC0415 - as above
    from bson.errors import BSONError  # noqa: PLC0415 - as above

    try:
        return bson.encode(json_util.loads(json.dumps(document)))
    except (BSONError, ValueError, TypeError, KeyError, OverflowError):
        # A token that was given by hand need not be one that BSON can hold.
        return None
