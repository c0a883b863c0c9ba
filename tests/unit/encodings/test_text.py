"""Plain text and documents."""

from typing import Any

import pytest

from mstream.domain.batch import Encoding
from mstream.encodings import codec_for
from mstream.errors import DecodeError, EncodeError

CODEC = codec_for(Encoding.TEXT)


def test_a_line_becomes_a_document_with_its_text() -> None:
    assert CODEC.decode(["naïve 線".encode(), b"", None])[0] == [{"text": "naïve 線"}, {"text": ""}, None]


def test_bytes_that_are_not_utf_8_are_refused_alone_and_not_shown() -> None:
    documents, failures = CODEC.decode([b"fine", b"s3cr3t \xff", b"too"])

    assert documents == [{"text": "fine"}, None, {"text": "too"}]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, DecodeError)
    assert str(failures[0].error) == "the text is not UTF-8: byte 7 of 8"


@pytest.mark.parametrize("document", [{"text": 1}, {"line": "x"}, [1], 5, {"text": "\ud800"}, {"text": None}])
def test_a_document_without_a_text_is_refused_alone(document: Any) -> None:
    payloads, failures = CODEC.encode([{"text": "a"}, document, "b"])

    assert payloads == [b"a", None, b"b"]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, EncodeError)
