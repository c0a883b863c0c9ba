"""Plain text: a payload is one document with the field `text`."""

from __future__ import annotations

from collections.abc import Sequence

from mstream.domain.batch import Document, Encoding
from mstream.errors import DecodeError, EncodeError
from mstream.ports.roles import Failure


class TextCodec:
    """`line` and `{"text": "line"}`, as UTF-8."""

    encoding = Encoding.TEXT

    def decode(self, payloads: Sequence[bytes | None]) -> tuple[list[Document], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        try:
            return [None if each is None else {"text": str(each, "utf-8")} for each in payloads], ()
        except UnicodeDecodeError:
            pass
        documents: list[Document] = []
        failures: list[Failure] = []
        for index, payload in enumerate(payloads):
            try:
                documents.append(None if payload is None else {"text": str(payload, "utf-8")})
            except UnicodeDecodeError as error:
                documents.append(None)
                failures.append(Failure(index=index, error=_not_utf8(error)))
        return documents, failures

    def encode(self, documents: Sequence[Document]) -> tuple[list[bytes | None], Sequence[Failure]]:
        """As `ports.encoding.Codec`; a bare string counts as its text."""
        payloads: list[bytes | None] = []
        failures: list[Failure] = []
        for index, document in enumerate(documents):
            try:
                payloads.append(None if document is None else _text(document).encode("utf-8"))
            except EncodeError as error:
                payloads.append(None)
                failures.append(Failure(index=index, error=error))
            except UnicodeEncodeError as error:
                payloads.append(None)
                message = f"field 'text' has half of a surrogate pair at character {error.start}, which is no text"
                failures.append(Failure(index=index, error=EncodeError(message)))
        return payloads, failures


def _not_utf8(error: UnicodeDecodeError) -> DecodeError:
    return DecodeError(f"the text is not UTF-8: byte {error.start} of {len(error.object)}")


def _text(document: Document) -> str:
    if isinstance(document, str):
        return document
    if not isinstance(document, dict):
        message = f"the encoding 'text' takes documents with a field 'text', this is a {type(document).__name__}"
        raise EncodeError(message)
    if "text" not in document:
        raise EncodeError("the document has no field 'text', which the encoding 'text' writes")
    text = document["text"]
    if not isinstance(text, str):
        message = f"field 'text' is a {type(text).__name__}; the encoding 'text' writes strings"
        raise EncodeError(message)
    return text
