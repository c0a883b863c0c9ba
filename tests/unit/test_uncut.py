"""Payloads in one piece are as a list of them, wherever they are cut."""

from __future__ import annotations

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch, Encoding
from mstream.domain.uncut import RawDocuments
from mstream.providers.file.framing import framed

DOCUMENTS = st.lists(st.dictionaries(st.text("ab"), st.none() | st.binary(max_size=300)).map(bson.encode), max_size=30)


def in_array(documents: list[bytes]) -> RawDocuments:
    """As an answer of a server has them, behind and before something else."""
    array = bson.encode({str(index): RawBSONDocument(each) for index, each in enumerate(documents)})
    return RawDocuments.in_array(b"before" + array + b"after", 6, 6 + len(array))


@given(DOCUMENTS, st.slices(30))
def test_documents_are_as_a_list_of_them(documents: list[bytes], part: slice) -> None:
    found = in_array(documents)

    assert found == documents
    assert len(found) == len(documents)
    assert found.size == sum(map(len, documents))
    assert found.together == b"".join(documents)
    assert found[part] == documents[part]
    assert found[part].size == sum(map(len, documents[part]))
    assert [found[index] for index in range(-len(documents), len(documents))] == documents * 2


def test_more_documents_than_most_answers_have_are_found() -> None:
    documents = [bson.encode({"n": each}) for each in range(10_017)]

    assert in_array(documents) == documents


def test_an_array_in_which_a_length_is_wrong_is_refused() -> None:
    array = bson.encode({str(index): {"n": index} for index in range(3)})
    at = array.index(b"1\0") + 2

    for wrong in (0, 4, 11, 13, -12, 1 << 30):
        with pytest.raises(ValueError, match="something else"):
            RawDocuments.in_array(array[:at] + wrong.to_bytes(4, "little", signed=True) + array[at + 4 :])


@given(DOCUMENTS, st.integers(0, 30))
def test_a_file_gets_them_as_they_came(documents: list[bytes], start: int) -> None:
    batch = Batch(payloads=in_array(documents)[start:], encoding=Encoding.BSON)

    assert framed(batch, refuse_deletes=True) == (b"".join(documents[start:]), ())
    assert batch.size() == sum(map(len, documents[start:]))
