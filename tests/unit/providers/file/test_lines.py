from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch, Encoding
from mstream.domain.uncut import Lines
from mstream.encodings.json import JsonCodec
from mstream.providers.file.framing import framed
from mstream.providers.file.identity import FileIdentity
from mstream.providers.file.lines import Chunk, cut_lines, whole_lines

line = st.sampled_from([b"", b" ", b"\t", b"\r", b"1", b"22", b" 3", b"4\r", b"5 ", b"x" * 40])


@given(lines=st.lists(line, max_size=30), rest=st.sampled_from([b"", b"unfinished"]), size=st.integers(1, 200))
def test_lines_are_those_of_a_plain_loop_wherever_reads_end(lines: list[bytes], rest: bytes, size: int) -> None:
    content = b"".join(each + b"\n" for each in lines) + rest
    wanted = []
    place = 0
    for each in lines:
        place += len(each) + 1
        if each.strip():
            wanted.append((each.removesuffix(b"\r"), place))

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        got = []
        offset = scanned = 0
        while True:
            data, scanned = whole_lines(file.fileno(), offset, scanned, size)
            if not data:
                break
            payloads, ends = cut_lines(data, offset)
            chunk = _chunk(payloads, ends, offset, offset + len(data))
            got += list(zip(payloads, chunk.marks().ends, strict=True))
            offset = scanned = offset + len(data)

    assert got == wanted
    assert offset == len(content) - len(rest)


@given(
    lines=st.lists(line.filter(bytes.strip), min_size=1, max_size=30),
    records=st.integers(1, 8),
    size=st.integers(1, 99),
)
def test_a_chunk_that_is_split_keeps_lines_and_offsets(lines: list[bytes], records: int, size: int) -> None:
    data = b"".join(each + b"\n" for each in lines)
    payloads, ends = cut_lines(data, 7)
    whole = _chunk(payloads, ends, 7, 7 + len(data))
    parts = []
    rest: Chunk | None = _chunk(payloads, ends, 7, 7 + len(data))
    while rest is not None:
        head, rest = rest.split(records, size)
        parts.append(head)

    assert [each for part in parts for each in part.payloads] == payloads
    assert [end for part in parts for end in part.marks().ends] == whole.marks().ends
    assert all(len(part.payloads) <= records for part in parts)
    assert all(len(part.payloads) == 1 or part.end - part.start <= size for part in parts)
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]


def test_a_byte_order_mark_is_no_part_of_the_first_record() -> None:
    assert cut_lines(b"\xef\xbb\xbf1\n2\n", 0) == ([b"1", b"2"], [5, 7])


def test_two_files_with_the_same_inode_are_told_apart_by_their_first_bytes() -> None:
    one = FileIdentity(device=1, inode=2, head=b"a" * 300)
    other = FileIdentity(device=1, inode=2, head=b"b" * 300)

    assert one.text(1000) != other.text(1000)
    assert one.text(256) == one.text(1000)


def test_json_over_several_lines_becomes_one_line_with_every_value_as_it_was() -> None:
    payload = b'{\r\n  "big": 123456789012345678901234567890,\n  "nan": NaN, "text": "a\\nb"\n}'

    data, failures = framed(Batch(payloads=[b"1", payload]), refuse_deletes=True)

    assert data == b'1\n{    "big": 123456789012345678901234567890,   "nan": NaN, "text": "a\\nb" }\n'
    assert list(failures) == []


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [(b"a\nb", Encoding.TEXT), (b'"a\nb"', Encoding.JSON), (b"", Encoding.JSON), (None, Encoding.JSON)],
)
def test_what_cannot_be_one_line_is_refused_and_the_rest_is_written(payload: bytes | None, encoding: Encoding) -> None:
    data, failures = framed(Batch(payloads=[b"1", payload, b"2"], encoding=encoding), refuse_deletes=True)

    assert data == b"1\n2\n"
    assert [each.index for each in failures] == [1]
    assert not failures[0].error.retryable


def test_records_without_a_payload_can_be_left_out() -> None:
    assert framed(Batch(payloads=[None, b"1", None]), refuse_deletes=False) == (b"1\n", [])
    assert framed(Batch(payloads=[None]), refuse_deletes=False) == (b"", [])


def test_an_empty_line_of_text_is_written() -> None:
    assert framed(Batch(payloads=[b"", b"a"], encoding=Encoding.TEXT), refuse_deletes=True) == (b"\na\n", ())


def _chunk(payloads: list[bytes], ends: list[int] | None, start: int, end: int) -> Chunk:
    identity = FileIdentity(device=1, inode=os.getpid())
    return Chunk(lane="log", identity=identity, start=start, end=end, payloads=payloads, ends=ends)


@given(st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\n", b"x")), max_size=12), st.data())
def test_lines_are_as_a_list_of_them_whatever_is_asked(wanted: list[bytes], data: st.DataObject) -> None:
    lines = Lines([each + b"\n" for each in wanted])
    some = slice(data.draw(st.integers(-13, 13)), data.draw(st.integers(-13, 13)), data.draw(st.sampled_from([1, 2])))

    assert (len(lines), list(lines), lines) == (len(wanted), wanted, wanted)
    assert lines[some] == wanted[some]
    assert lines[some].together == b"".join(each + b"\n" for each in wanted[some])
    assert lines[some].size == sum(map(len, wanted[some]))
    assert [lines[each] for each in range(-len(wanted), len(wanted))] == wanted * 2
    assert Lines(list(lines.with_ends)) == lines
    assert lines != [*wanted, b"another"]


document = st.sampled_from(
    [
        b"1",
        b'{"a": [1]}',
        b'"x"',
        b"nul",
        b"{",
        b'"',
        b"1.5e400",
        b"18446744073709551616",
        b"NaN",
        b'"\\ud800"',
        b"1 2",
        b"\xff",
    ]
)


@given(st.lists(document, max_size=8))
def test_lines_are_decoded_as_the_documents_in_them(payloads: list[bytes]) -> None:
    codec = JsonCodec()

    (documents, failures), (plain, refused) = (
        codec.decode(Lines([each + b"\n" for each in payloads])),
        codec.decode(payloads),
    )

    assert repr(documents) == repr(plain)
    assert [(each.index, str(each.error)) for each in failures] == [(each.index, str(each.error)) for each in refused]
