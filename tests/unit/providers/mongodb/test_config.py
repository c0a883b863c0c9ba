"""What a service and a sink of MongoDB may say, and which checkpoints can be committed together with records."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.domain.connector import SinkRef
from mstream.ports.provider import role_options
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.mongodb.service import client_settings
from mstream.providers.sql import PROVIDER as SQL

URL = "mongodb://u:p@b:1,a/x?replicaSet=rs"


def config(url: str = URL, **settings: Any) -> MongodbConfig:
    return MongodbConfig.model_validate({"name": "m", "connection_string": url, "db_name": "d", **settings})


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"output_encoding": "bson"}, []),
        ({}, []),
        ({"output_encoding": "text"}, ["output_encoding"]),
        ({"write_mode": "replace", "key_fields": ["a", "b.c"]}, []),
        ({"write_mode": "replace", "key_fields": []}, ["key_fields"]),
        ({"write_mode": "replace", "key_fields": ["a", "a"]}, ["key_fields"]),
        ({"key_fields": ["a"]}, ["key_fields"]),
        ({"write_mode": "merge", "key_fields": ["a"]}, ["key_fields"]),
    ],
)
def test_what_single_fields_cannot_tell(options: dict[str, Any], keys: list[str]) -> None:
    assert PROVIDER.sink is not None
    ref = SinkRef.model_validate({"service_name": "m", "resource": "c", **options})

    found = PROVIDER.sink.check(ref, role_options(PROVIDER.sink.options, config(), ref))
    assert [key for key, _ in found] == keys


@pytest.mark.parametrize(
    ("mode", "is_idempotent"), [("insert", False), ("replace", True), ("upsert", True), ("merge", True)]
)
def test_writing_by_key_again_changes_nothing(mode: str, is_idempotent: bool) -> None:
    assert PROVIDER.sink is not None
    ref = SinkRef.model_validate({"service_name": "m", "resource": "c", "write_mode": mode})

    options = role_options(PROVIDER.sink.options, config(), ref)
    assert PROVIDER.sink.idempotent(ref, options) is is_idempotent


@pytest.mark.parametrize(
    ("url", "other", "is_same"),
    [
        (URL, URL, True),
        (URL, "mongodb://other:user@A:27017,B:1/?w=1", True),
        (URL, "mongodb://b:1/", False),
        ("mongodb://127.0.0.1/", "mongodb://localhost:27017", True),
        ("mongodb+srv://c.d/", "mongodb+srv://u:p@c.d/x", True),
        ("mongodb+srv://c.d/", "mongodb://c.d/", False),
        ("mongodb://[::1]:27017/", "mongodb://[::1]/", True),
        ("env:A", "env:A", True),
        ("env:A", "env:B", False),
    ],
)
def test_a_checkpoint_in_the_same_deployment_can_be_committed_together(url: str, other: str, is_same: bool) -> None:
    assert PROVIDER.transactional_with is not None
    assert PROVIDER.transactional_with(config(url), config(other)) is is_same
    elsewhere = config(other, db_name="elsewhere")
    assert PROVIDER.transactional_with(config(url), elsewhere) is is_same
    assert PROVIDER.database(elsewhere) == "elsewhere"
    assert not PROVIDER.transactional_with(config(url), SQL.config(name="s", url="sqlite://"))


def test_fields_count_before_the_connection_string_and_that_before_our_own() -> None:
    given = config(
        "mongodb://h/?appName=mine&connectTimeoutMS=5",
        username="u",
        password="p",
        auth_mechanism="SCRAM-SHA-256",
        tls=True,
        max_pool_size=7,
        server_selection_timeout_sec=1.5,
    )

    assert client_settings(given) == {
        "tz_aware": True,
        "username": "u",
        "password": "p",
        "authMechanism": "SCRAM-SHA-256",
        "tls": True,
        "maxPoolSize": 7,
        "serverSelectionTimeoutMS": 1500,
    }


def test_who_a_user_is_is_not_shown() -> None:
    given = config(username="planted", password="planted", tls_certificate_key_password="planted", tls=True)

    assert "planted" not in f"{given!r} {given.shown()}"
    assert given.shown()["tls"] is True
