"""Fields of documents as pieces of their bytes, whatever their names are, and whatever was cut off."""

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from mstream.providers.mongodb.columns import Made
from mstream.providers.mongodb.elements import document_of, documents_in, elements, first_field, typed

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1).map(Int64),
        st.floats(),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.binary().map(Binary),
        st.binary().map(lambda data: Binary(data, 0x80)),
        st.sampled_from([MinKey(), MaxKey(), Timestamp(1, 2), Decimal128("1.5"), Regex("a.*", "i"), Code("f()")]),
        st.just(Code("f()", {"a": 1})),
        st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
        st.binary(min_size=12, max_size=12).map(ObjectId),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6).map(bson.encode)


@given(DOCUMENTS)
def test_both_ways_of_looking_find_the_same_fields(document: bytes) -> None:
    found = list(elements(document))

    assert typed(document) == {bytes([each.kind]) + each.name.encode(): each.value for each in found}
    assert document_of([each.raw for each in found]) == document
    if found:
        assert first_field(document, found[0].name.encode() + b"\0") == found[0].raw


@given(DOCUMENTS, st.data())
def test_a_document_that_was_cut_is_refused(document: bytes, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(document) - 1))

    for cut in (document[:kept], resized(document[:kept])):
        if cut != document and not is_sound(cut):
            with pytest.raises(InvalidBSON):
                list(elements(cut))
            with pytest.raises(InvalidBSON):
                typed(cut)


@pytest.mark.parametrize(
    "field",
    [
        b"\x02a\0\xff\xff\xff\xff",
        b"\x02a\0\x00\x00\x00\x80x\0",
        b"\x03a\0\xff\xff\xff\x7f",
        b"\x05a\0\xf0\xff\xff\xff\0",
        b"\x0ba\0.*",
        b"\x42a\0",
        b"\x10a\0\1\2",
        b"\x02",
    ],
)
def test_a_field_that_reaches_beyond_its_document_is_refused(field: bytes) -> None:
    for read in (typed, lambda document: list(elements(document))):
        with pytest.raises(InvalidBSON, match="a field cannot be read"):
            read(document_of([field]))


def resized(data: bytes) -> bytes:
    """The same, saying of itself that it is whole."""
    return (len(data) + 1).to_bytes(4, "little") + data[4:] + b"\0"


def is_sound(document: bytes) -> bool:
    """Whether the driver reads it: cut between two fields it is a document again."""
    try:
        bson.decode(document, bson.CodecOptions(RawBSONDocument)).items()
    except InvalidBSON:
        return False
    return True


@given(st.lists(DOCUMENTS, max_size=12))
def test_an_answer_is_cut_into_its_documents(documents: list[bytes]) -> None:
    answer = bson.encode({"documents": list(map(RawBSONDocument, documents))})

    assert documents_in(typed(answer)[b"\x04documents"]) == documents


@pytest.mark.parametrize(
    "field", [b"\x100\0\5\0\0\0", b"\x030\0\4\0\0\0", b"\x030\0\xff\0\0\0", b"\x030\0\5\0", b"\x03"]
)
def test_an_answer_of_anything_else_is_refused(field: bytes) -> None:
    with pytest.raises(InvalidBSON, match="something else"):
        documents_in(document_of([field]))


def test_a_column_that_is_made_when_somebody_looks_is_as_a_list() -> None:
    column = Made(range(5), str)

    assert column == ["0", "1", "2", "3", "4"]
    assert column[1:3] == ["1", "2"]
    assert column[-1] == "4"
    assert column != ["0"]
