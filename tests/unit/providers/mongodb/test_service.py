"""A mongodb service is opened without a word to the server, and never tells its secrets."""

from __future__ import annotations

import pytest

from mstream.errors import ServiceError, StoreError, StoreUnreachable
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.mongodb.documents import MongodbDocuments

PLANTED = "planted-secret"


def config(connection_string: str, db_name: str = "d") -> MongodbConfig:
    return MongodbConfig(name="it", connection_string=connection_string, db_name=db_name)


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://user:{PLANTED}@host:port/",
        f"mongodb://user:{PLANTED}@/",
        f"mongodb://user:{PLANTED}@@host/",
        f"http://user:{PLANTED}@host/",
        f"{PLANTED}",
        f"mongodb://user:{PLANTED}@host/?tlsCAFile=/nowhere/{PLANTED}.pem",
    ],
)
async def test_a_connection_string_that_cannot_be_used_is_named_without_being_told(text: str) -> None:
    with pytest.raises(ServiceError, match=r"'it'.*connection_string") as caught:
        async with PROVIDER.connect(config(text)):
            raise AssertionError

    assert PLANTED not in str(caught.value)
    assert not caught.value.retryable


async def test_a_server_that_is_not_there_is_unreachable_and_its_url_stays_secret() -> None:
    text = f"mongodb://user:{PLANTED}@127.0.0.1:1/?timeoutMS=500&authSource=admin"
    async with PROVIDER.connect(config(text)) as live:
        with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:1") as caught:
            await MongodbDocuments(live).ping()

    assert PLANTED not in str(caught.value)


async def test_a_collection_that_mongodb_cannot_have_is_named() -> None:
    async with PROVIDER.connect(config("mongodb://127.0.0.1:1/")) as live:
        with pytest.raises(StoreError, match=r"a\$b"):
            MongodbDocuments(live).collection("a$b")


async def test_what_the_connection_string_says_of_time_limits_holds() -> None:
    async with PROVIDER.connect(config("mongodb://127.0.0.1:1/?SERVERSELECTIONTIMEOUTMS=77&appName=mine")) as live:
        assert live.client.options.server_selection_timeout == pytest.approx(0.077)
        assert live.client.options.pool_options.appname == "mine"
