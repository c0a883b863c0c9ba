"""A secret shows nowhere; a reference is told apart, resolved at use, and named when it leads nowhere."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path

import pytest
from pydantic import BaseModel

from mstream.domain.service import ServiceConfig
from mstream.errors import SecretUnavailable
from mstream.foundation.secrets import Secret, is_reference, redacted, resolved

PLANTED = "pl4nted-s3cret"


class Holder(BaseModel):
    word: Secret


class Service(ServiceConfig):
    provider: str = "test"
    url: str = ""
    word: Secret | None = None


def test_a_secret_shows_as_stars_wherever_it_is_printed() -> None:
    secret = Secret(PLANTED)
    holder = Holder(word=secret)

    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr(holder), str(holder)]
    shown += [holder.model_dump_json(), json.dumps(holder.model_dump()), json.dumps([secret], default=str)]

    assert all("****" in each for each in shown)
    assert not any(PLANTED in each for each in shown)
    assert secret.reveal() == PLANTED


def test_a_secret_is_not_in_a_traceback() -> None:
    def fail(word: Secret) -> None:
        message = f"cannot use {word}"
        raise ValueError(message)

    with pytest.raises(ValueError, match="cannot use") as caught:
        fail(Secret(PLANTED))

    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert PLANTED not in "".join(each for each in lines if "PLANTED" not in each)


def test_a_secret_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="seal it"):
        pickle.dumps(Secret(PLANTED))


def test_a_service_shows_public_fields_and_references_alone() -> None:
    service = Service(name="a", url=f"http://me:{PLANTED}@host/", word=Secret(PLANTED))
    by_reference = Service(name="a", word=Secret("env:WORD"))

    assert service.shown() == {"provider": "test", "name": "a", "url": "****", "word": "****"}
    assert by_reference.shown()["word"] == "env:WORD"
    assert PLANTED not in repr(service) + str(service)
    assert service.sealed()["word"] == PLANTED


def test_references_are_resolved_at_use_and_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("from a file\n", encoding="utf-8")
    service = Service(name="a", url="env:URL", word=Secret(f"file:{tmp_path}/word"))

    opened = service.with_references_resolved({"URL": "http://host/"})

    assert (opened.url, opened.word) == ("http://host/", Secret("from a file"))
    assert service.url == "env:URL"


@pytest.mark.parametrize("reference", ["env:NOT_THERE", "file:/not/there"])
def test_a_reference_that_leads_nowhere_is_named(reference: str) -> None:
    assert is_reference(reference)
    with pytest.raises(SecretUnavailable, match=reference.partition(":")[2]):
        resolved(reference, {})


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://user:{PLANTED}@host:1/db",
        f"cannot reach http://{PLANTED}@host",
        f"GET http://host/x?a=1&api_token={PLANTED}&b=2",
        f"https://host/?Password={PLANTED}",
    ],
)
def test_texts_lose_user_info_and_telling_query_values(text: str) -> None:
    assert PLANTED not in redacted(text)
    assert "host" in redacted(text)
