"""Plain text goes through a document and back unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Encoding
from mstream.encodings import codec_for

CODEC = codec_for(Encoding.TEXT)


@given(st.lists(st.one_of(st.text(st.characters(codec="utf-8")).map(str.encode), st.none())))
def test_text_leaves_as_it_came(payloads: list[bytes | None]) -> None:
    documents, failures = CODEC.decode(payloads)

    assert not failures
    assert CODEC.encode(documents) == (payloads, [])


@given(st.lists(st.binary(max_size=8)))
def test_bytes_that_are_no_text_fail_at_their_place(payloads: list[bytes]) -> None:
    documents, failures = CODEC.decode(payloads)

    failed = {each.index for each in failures}
    for index, payload in enumerate(payloads):
        try:
            expected = {"text": payload.decode("utf-8")}
        except UnicodeDecodeError:
            assert index in failed
        else:
            assert index not in failed
            assert documents[index] == expected
