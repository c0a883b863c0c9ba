"""What a sql service and its options accept, show and compare."""

from __future__ import annotations

from pathlib import Path
from traceback import format_exception

import pytest
from pydantic import ValidationError

from mstream.domain.connector import SinkRef, SourceRef
from mstream.errors import ProviderUnavailable, ServiceError
from mstream.ports.provider import role_options
from mstream.ports.roles import Resume
from mstream.providers.memory import PROVIDER as MEMORY
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig, SqlSinkOptions, identity


def service(url: str, **fields: object) -> SqlConfig:
    return SqlConfig.model_validate({"name": "shop", "url": url, **fields})


def ref(**options: object) -> SinkRef:
    return SinkRef.model_validate({"service_name": "shop", "resource": "orders", **options})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:planted@db.local:5433/shop?password=planted", "postgresql://db.local:5433/shop"),
        ("mysql+pymysql://me:pl@nted@db/shop", "mysql://db/shop"),
        ("sqlite:///./shop.db", "sqlite:///./shop.db"),
        ("env:SHOP_URL", "env:SHOP_URL"),
    ],
)
def test_a_url_shows_its_host_and_nothing_secret(url: str, shown: str) -> None:
    config = service(url)

    assert config.shown()["url"] == shown
    assert "nted" not in repr(config)
    assert config.sealed()["url"] == url


@pytest.mark.parametrize("url", ["", "shop.db", "oracle://planted@x", "postgresql+asyncpg://planted@x", "postgresql:x"])
def test_another_database_is_refused_without_showing_the_url(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        service(url)

    assert "sqlite:///" in str(caught.value)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("place", ["db:planted", "db:99999", "[planted", "db:-1"])
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql"])
def test_a_place_that_cannot_be_read_is_refused_without_showing_the_url(scheme: str, place: str) -> None:
    url = f"{scheme}://me:hidden@{place}/shop"

    with pytest.raises(ValidationError, match="host and port") as refused:
        service(url)
    with pytest.raises(ServiceError, match="host and port") as failed:
        identity(url)

    for text in (str(refused.value), "".join(format_exception(failed.value))):
        assert not any(each in text for each in ("planted", "hid", "99999"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://a:b@localhost/shop", "postgres://c@127.0.0.1:5432/shop?x=1"),
        ("mysql://h/shop", "mariadb+pymysql://u@H:3306/shop"),
        ("sqlite:///shop.db", f"sqlite:///{Path.cwd()}/./shop.db"),
        ("env:SHOP", "env:SHOP"),
    ],
)
def test_one_database_by_two_urls_shares_a_transaction(one: str, other: str) -> None:
    assert PROVIDER.transactional_with is not None
    assert PROVIDER.transactional_with(service(one), service(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://h/shop", "postgresql://h/other"),
        ("postgresql://h/shop", "postgresql://h:5433/shop"),
        ("postgresql://h/shop", "mysql://h/shop"),
        ("sqlite:///a.db", "sqlite:///b.db"),
        ("sqlite://", "sqlite://"),
        ("env:A", "env:B"),
        ("env:A", "sqlite:///a.db"),
    ],
)
def test_two_databases_share_none(one: str, other: str) -> None:
    assert PROVIDER.transactional_with is not None
    assert not PROVIDER.transactional_with(service(one), service(other))
    assert not PROVIDER.transactional_with(service(one), MEMORY.config(name="memory"))


def test_a_link_to_a_file_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")

    assert identity(f"sqlite:///{tmp_path}/link.db") == identity(f"sqlite:///{tmp_path}/real.db")
    assert identity(f"sqlite:///{tmp_path}/%72eal.db") == identity(f"sqlite:///{tmp_path}/real.db")


@pytest.mark.parametrize(
    ("options", "keys", "is_idempotent"),
    [
        ({}, (), False),
        ({"key_columns": ["id"]}, ("id",), True),
        ({"write_mode": "upsert"}, ("_id",), True),
        ({"write_mode": "replace", "key_columns": ["a", "b"]}, ("a", "b"), True),
    ],
)
def test_keys_by_default_and_what_they_guarantee(
    options: dict[str, object], keys: tuple[str, ...], is_idempotent: bool
) -> None:
    made = SqlSinkOptions.model_validate(options)
    assert PROVIDER.sink is not None

    assert made.keys == keys
    assert PROVIDER.sink.idempotent(ref(), made) is is_idempotent
    assert list(PROVIDER.sink.check(ref(), made)) == []


@pytest.mark.parametrize(
    "options",
    [{"write_mode": "upsert", "key_columns": []}, {"key_columns": ["a", "a"]}, {"key_columns": [""]}],
)
def test_keys_that_cannot_be_are_a_problem_of_that_option(options: dict[str, object]) -> None:
    assert PROVIDER.sink is not None

    [(option, text)] = PROVIDER.sink.check(ref(), SqlSinkOptions.model_validate(options))

    assert option == "key_columns"
    assert text


@pytest.mark.parametrize(
    "options", [{"write_mode": "merge"}, {"columns": "wide"}, {"new_fields": "x"}, {"type_change": 1}, {"upsert": True}]
)
def test_an_option_that_is_none_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SqlSinkOptions.model_validate(options)


def test_a_default_on_the_service_holds_unless_the_ref_says_otherwise() -> None:
    config = service("sqlite://", write_mode="upsert", on_delete="ignore")

    options = role_options(SqlSinkOptions, config, ref(on_delete="delete"))

    assert isinstance(options, SqlSinkOptions)
    assert (options.write_mode, options.on_delete) == ("upsert", "delete")


def test_references_are_resolved_into_a_url() -> None:
    config = service("env:SHOP_URL").with_references_resolved({"SHOP_URL": "sqlite:///x.db"})

    assert config.url.reveal() == "sqlite:///x.db"


def test_the_source_is_described_but_not_there() -> None:
    assert PROVIDER.source is not None
    source = SourceRef(service_name="shop", resource="orders")
    made = PROVIDER.source.fingerprint(service("postgresql://me:planted@h/shop"), source, None)

    with pytest.raises(ProviderUnavailable):
        PROVIDER.source.open(None, source, None, Resume(), None)  # type: ignore[arg-type]  # nothing is looked at
    assert "planted" not in made
    assert made.endswith(":orders")
