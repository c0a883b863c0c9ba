"""What was read as lines is written as it was; everything else is looked at first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mstream.domain.batch import Batch, Encoding
from mstream.providers.file.framing import framed
from mstream.providers.file.lines import cut_lines

DATA = b'{"a":1}\n{"a":2}\n{"a":3}\n'


def _read(data: bytes) -> Batch:
    payloads, _ = cut_lines(data, 0)
    return Batch(payloads=payloads)


def test_lines_that_were_read_together_are_written_together() -> None:
    assert framed(_read(DATA), refuse_deletes=True) == (DATA, ())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda batch: batch.head(2), b'{"a":1}\n{"a":2}\n'),
        (lambda batch: batch.pick([2, 0]), b'{"a":3}\n{"a":1}\n'),
        (lambda batch: batch.without([1]), b'{"a":1}\n{"a":3}\n'),
        (lambda batch: next(batch.slices(1)), b'{"a":1}\n'),
    ],
)
def test_a_part_of_what_was_read_is_that_part(change: Callable[[Batch], Batch], expected: bytes) -> None:
    assert framed(change(_read(DATA)), refuse_deletes=True) == (expected, ())


def test_blank_lines_and_carriage_returns_are_not_written_again() -> None:
    assert framed(_read(b"1\r\n\n  \n2\n"), refuse_deletes=True) == (b"1\n2\n", ())


def test_a_record_of_several_lines_is_found_among_others() -> None:
    data, failures = framed(Batch(payloads=[b"1", b"[2,\n3]", b"4"]), refuse_deletes=True)

    assert (data, failures) == (b"1\n[2, 3]\n4\n", [])


def test_text_of_several_lines_is_refused_alone() -> None:
    batch = Batch(payloads=[b"a", b"b\nc", b"", b"d"], encoding=Encoding.TEXT)

    data, failures = framed(batch, refuse_deletes=True)

    assert data == b"a\n\nd\n"
    assert [each.index for each in failures] == [1]
