"""What a schema_registry service may say, and how names of schemas are read."""

from typing import Any

import pytest
from pydantic import ValidationError

from mstream.errors import AccessDenied
from mstream.ports.probe import Outcome
from mstream.providers.schema_registry import PROVIDER
from mstream.providers.schema_registry.config import SchemaRegistryConfig, subject_and_version, subject_of


def config(**keys: Any) -> SchemaRegistryConfig:
    return SchemaRegistryConfig.model_validate({"name": "reg", "url": "http://h:1/", **keys})


@pytest.mark.parametrize(
    "keys",
    [
        {"url": ""},
        {"url": "registry:8081"},
        {"url": "http://h, registry"},
        {"username": "u"},
        {"password": "p"},
        {"tls_key_file": "k.pem"},
        {"timeout_sec": 0},
        {"other": 1},
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**keys)


def test_urls_come_one_by_one_and_references_are_left_alone() -> None:
    assert config(url=" http://a/ , https://b/api/ ").urls == ("http://a", "https://b/api")
    assert config(url="env:REGISTRY").with_references_resolved({"REGISTRY": "http://c"}).urls == ("http://c",)


def test_nothing_secret_is_shown() -> None:
    told = config(url="http://u:hush@h", username="u", password="hush")

    assert "hush" not in str(told.shown()) + repr(told)
    assert told.shown()["url"] == "http://****@h"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("orders-value", ("orders-value", None)),
        ("orders-value:3", ("orders-value", "3")),
        ("orders-value:latest", ("orders-value", "latest")),
        ("a:b", ("a:b", None)),
        (":.context:orders", (":.context:orders", None)),
        (":.context:orders:12", (":.context:orders", "12")),
        (":3", (":3", None)),
    ],
)
def test_a_version_stands_behind_the_last_colon(name: str, meant: tuple[str, str | None]) -> None:
    assert subject_and_version(name) == meant


def test_values_and_keys_of_a_topic_have_subjects_of_their_own() -> None:
    assert subject_of("orders") == "orders-value"
    assert subject_of("orders", is_key=True) == "orders-key"


async def test_files_that_are_not_there_are_told_before_anything_is_asked() -> None:
    broken = config(url="https://h", tls_ca_file="/nowhere/ca.pem")

    with pytest.raises(AccessDenied, match="a file named by 'tls_…' cannot be used: No such file"):
        async with PROVIDER.connect(broken):
            pass
    assert PROVIDER.probe is not None
    steps = await PROVIDER.probe(broken)
    assert [each.outcome for each in steps] == [Outcome.FAILED, *[Outcome.SKIPPED] * 3]
