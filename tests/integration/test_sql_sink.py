"""Every option of the sql sink, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId

from mstream.encodings.numbers import ExactNumber, number
from mstream.errors import RecordRefused, ResourceMissing
from tests.integration.sql_tables import DATABASES, Desk, batch, desk_on, url_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=DATABASES)
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_on(url_of(request.param, request, tmp_path)) as opened:
        yield opened


def parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value


async def test_a_missing_table_is_made_from_the_first_batch(desk: Desk) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1, "name": "ü😀", "price": 1.5, "paid": True}, {"id": 2, "note": "x"}))

    assert failures == []
    assert await desk.columns() == ["id", "name", "price", "paid", "note"]
    assert await desk.rows('"id", "name", "price", "paid", "note"') == [
        (1, "ü😀", 1.5, True, None),
        (2, None, None, None, "x"),
    ]


async def test_every_kind_of_value_comes_back(desk: Desk) -> None:
    moment = datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=UTC)
    record = {
        "whole": -(2**63),
        "fraction": 0.1,
        "bytes": b"\x00\xff",
        "at": moment,
        "object": {"a": [1, None]},
        "list": [],
    }

    async with desk.sink() as sink:
        assert await sink.write(batch(record)) == []

    [(whole, fraction, content, at, inner, many)] = await desk.rows(
        '"whole", "fraction", "bytes", "at", "object", "list"'
    )
    assert (whole, fraction, bytes(content)) == (-(2**63), 0.1, b"\x00\xff")
    assert (parsed(inner), parsed(many)) == ({"a": [1, None]}, [])
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    assert (at if at.tzinfo else at.replace(tzinfo=UTC)) == moment


async def test_rows_keep_the_order_of_records(desk: Desk) -> None:
    if desk.live.engine.name != "sqlite":
        pytest.skip("only SQLite numbers the rows of every table")
    async with desk.sink() as sink:
        for start in range(0, 400, 173):
            records = [{"n": each, **({"odd": 1} if each % 2 else {})} for each in range(start, min(start + 173, 400))]
            assert await sink.write(batch(*records)) == []

    assert [each for (each,) in await desk.rows('"n"', "rowid")] == list(range(400))


async def test_without_create_table_a_missing_table_is_an_error(desk: Desk) -> None:
    async with desk.sink(create_table=False) as sink:
        with pytest.raises(ResourceMissing, match="create_table"):
            await sink.write(batch({"id": 1}))


async def test_a_field_with_only_nulls_gets_its_column_with_its_first_value(desk: Desk) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1, "late": None})) == []
        assert await desk.columns() == ["id"]
        assert await sink.write(batch({"id": 2, "late": "now"}, {"id": 3, "late": None})) == []

    assert await desk.rows('"id", "late"') == [(1, None), (2, "now"), (3, None)]


async def test_a_whole_number_column_that_meets_a_fraction_is_widened(desk: Desk) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1, "price": 3})) == []
        assert await sink.write(batch({"id": 2, "price": 2.5}, {"id": 3, "price": 4})) == []

    rows = await desk.rows('"id", "price"')
    assert rows == [(1, 3.0), (2, 2.5), (3, 4.0)]
    assert {type(price) for _, price in rows} == {float}


async def test_a_column_is_not_widened_where_a_number_would_change(desk: Desk) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1, "price": 2**53 + 1})) == []
        failures = await sink.write(batch({"id": 2, "price": 2.5}, {"id": 3, "price": 4}))

    assert [each.index for each in failures] == [0]
    assert await desk.rows('"id", "price"') == [(1, 2**53 + 1), (3, 4)]


async def test_with_type_change_error_the_fraction_is_refused(desk: Desk) -> None:
    async with desk.sink(type_change="error") as sink:
        assert await sink.write(batch({"id": 1, "price": 3})) == []
        failures = await sink.write(batch({"id": 2, "price": 2.5}, {"id": 3, "price": 4}))

    assert [each.index for each in failures] == [0]
    assert await desk.rows('"id", "price"') == [(1, 3), (3, 4)]


async def test_a_table_of_others_is_not_widened(desk: Desk) -> None:
    await desk.execute('CREATE TABLE {t} ("id" BIGINT, "price" BIGINT)')

    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 2, "price": 2.5}, {"id": 3, "price": 4}))

    assert [each.index for each in failures] == [0]
    assert await desk.rows('"id", "price"') == [(3, 4)]


@pytest.mark.parametrize(
    "bad",
    ["text", 2**64, -(2**63) - 1, True, {"a": 1}, [], b"x"],
    ids=["text", "big", "small", "bool", "object", "list", "bytes"],
)
async def test_a_value_that_does_not_fit_is_the_failure_of_its_record_alone(desk: Desk, bad: object) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 0, "n": 0})) == []
        failures = await sink.write(batch(*({"id": each, "n": bad if each == 7 else each} for each in range(1, 20))))

    assert [each.index for each in failures] == [6]
    assert isinstance(failures[0].error, RecordRefused)
    assert [each for (each,) in await desk.rows('"id"')] == [each for each in range(20) if each != 7]


async def test_nothing_is_written_as_null_that_was_a_value(desk: Desk) -> None:
    """SQLite has no NaN, MariaDB neither; PostgreSQL has."""
    async with desk.sink() as sink:
        failures = await sink.write(
            batch({"id": 1, "x": 1.5}, {"id": 2, "x": math.nan}, {"id": 3, "o": {"x": math.nan}})
        )

    rows = await desk.rows('"id", "x"')
    if desk.live.engine.name == "postgresql":
        assert [each.index for each in failures] == [2]
        assert math.isnan(rows[1][1])
    else:
        assert [each.index for each in failures] == [1, 2]
        assert rows == [(1, 1.5)]


async def test_a_text_that_the_database_cannot_hold_is_refused_alone(desk: Desk) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1, "x": "a"}, {"id": 2, "x": "\ud800"}, {"id": 3, "x": "b"}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id", "x"') == [(1, "a"), (3, "b")]


@pytest.mark.parametrize("record", [None, [1], "text", 7])
async def test_a_record_that_is_no_object_is_refused_alone(desk: Desk, record: object) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1}, record, {"id": 2}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id"') == [(1,), (2,)]


# ------------------------------------------------------------------------------------------------------ write modes
async def test_insert_with_a_key_takes_a_replay_and_refuses_other_content(desk: Desk) -> None:
    record = {
        "id": 1,
        "a": "x",
        "o": {"k": [1]},
        "f": 0.1,
        "b": b"\x01",
        "t": datetime(2024, 1, 1, tzinfo=UTC),
        "y": True,
    }
    async with desk.sink(key_columns=["id"]) as sink:
        assert await sink.write(batch(record, {"id": 2, "a": "y"})) == []

        failures = await sink.write(
            batch(record, {"id": 2, "a": "other"}, {"id": 3, "a": "z"}, {"id": 3, "a": "z"}, {"id": 3, "a": "q"})
        )

    assert [each.index for each in failures] == [1, 4]
    assert {type(each.error) for each in failures} == {RecordRefused}
    assert await desk.rows('"id", "a"') == [(1, "x"), (2, "y"), (3, "z")]


async def test_insert_with_a_key_refuses_a_record_that_lacks_what_is_stored(desk: Desk) -> None:
    async with desk.sink(key_columns=["id"]) as sink:
        assert await sink.write(batch({"id": 1, "a": "x"})) == []
        failures = await sink.write(batch({"id": 1}))

    assert [each.index for each in failures] == [0]


async def test_upsert_changes_what_a_record_has_and_leaves_the_rest(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 1, "a": 1, "b": 1}, {"_id": 2, "a": 2, "b": 2})) == []
        assert await sink.write(batch({"_id": 1, "a": 10}, {"_id": 2, "b": None}, {"_id": 3, "a": 3})) == []

    assert await desk.rows('"_id", "a", "b"') == [(1, 10, 1), (2, 2, None), (3, 3, None)]


async def test_replace_writes_the_whole_row(desk: Desk) -> None:
    async with desk.sink(write_mode="replace", key_columns=["id"]) as sink:
        assert await sink.write(batch({"id": 1, "a": 1, "b": 1})) == []
        assert await sink.write(batch({"id": 1, "a": 10})) == []

    assert await desk.rows('"id", "a", "b"') == [(1, 10, None)]


@pytest.mark.parametrize("mode", ["upsert", "replace"])
async def test_of_the_same_key_in_a_batch_the_last_wins(desk: Desk, mode: str) -> None:
    records = [{"_id": each % 3, "n": each, "m": each} for each in range(30)]

    async with desk.sink(write_mode=mode) as sink:
        assert await sink.write(batch(*records)) == []

    assert await desk.rows('"_id", "n", "m"') == [(0, 27, 27), (1, 28, 28), (2, 29, 29)]


async def test_upserts_of_one_key_with_different_fields_are_applied_in_order(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 1, "a": 1}, {"_id": 1, "b": 2}, {"_id": 1, "a": 3})) == []

    assert await desk.rows('"_id", "a", "b"') == [(1, 3, 2)]


async def test_when_the_last_of_a_key_is_refused_the_one_before_it_stands(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 0, "x": "a"})) == []
        failures = await sink.write(batch({"_id": 1, "x": "good"}, {"_id": 1, "x": "\ud800"}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"_id", "x"') == [(0, "a"), (1, "good")]


async def test_an_upsert_of_nothing_but_a_key_is_taken(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 1})) == []
        assert await sink.write(batch({"_id": 1}, {"_id": 2})) == []

    assert await desk.rows('"_id"') == [(1,), (2,)]


async def test_keys_differ_in_case_accents_and_blanks_at_their_end(desk: Desk) -> None:
    keys = ["a", "A", "ä", "a ", "ß", "ss", "日本"]

    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch(*({"_id": each, "n": at} for at, each in enumerate(keys)))) == []

    assert await desk.rows('"n", "_id"') == list(enumerate(keys))


async def test_several_columns_make_a_key(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert", key_columns=["shop", "id"]) as sink:
        assert await sink.write(batch({"id": 1, "shop": "a", "n": 1}, {"id": 1, "shop": "b", "n": 2})) == []
        assert await sink.write(batch({"id": 1, "shop": "a", "n": 3})) == []

    assert await desk.rows('"shop", "id", "n"') == [("a", 1, 3), ("b", 1, 2)]


async def test_a_record_without_its_key_is_refused_alone(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        failures = await sink.write(batch({"_id": 1}, {"a": 1}, {"_id": None}, {"_id": 2}))

    assert [each.index for each in failures] == [1, 2]
    assert await desk.rows('"_id"') == [(1,), (2,)]


async def test_an_object_may_be_a_key(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": {"$oid": "65"}, "n": 1})) == []
        assert await sink.write(batch({"_id": {"$oid": "65"}, "n": 2})) == []

    assert await desk.rows('"_id", "n"') == [('{"$oid":"65"}', 2)]


# ---------------------------------------------------------------------------------------------------------- deletes
async def test_a_delete_removes_the_row_of_its_key(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 1, "a": 1}, {"_id": 2, "a": 2})) == []
        assert await sink.write(batch({"_id": 1}, {"_id": 9}, deletes=[0, 1])) == []

    assert await desk.rows('"_id", "a"') == [(2, 2)]


async def test_writes_and_deletes_of_a_key_keep_their_order(desk: Desk) -> None:
    records = [{"_id": 1, "a": 1}, {"_id": 1}, {"_id": 1, "b": 2}, {"_id": 2, "a": 1}, {"_id": 2}]

    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch(*records, deletes=[1, 4])) == []

    assert await desk.rows('"_id", "a", "b"') == [(1, None, 2)]


async def test_without_key_columns_a_delete_is_refused_alone(desk: Desk) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1}, {"id": 1}, {"id": 2}, deletes=[1]))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id"') == [(1,), (2,)]


async def test_with_on_delete_ignore_deletes_are_passed_over(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert", on_delete="ignore") as sink:
        assert await sink.write(batch({"_id": 1}, {"_id": 1}, deletes=[1])) == []

    assert await desk.rows('"_id"') == [(1,)]


async def test_a_delete_without_content_removes_the_row_that_its_key_names(desk: Desk) -> None:
    keys = [b'{"_id":"a"}', bson.encode({"_id": ObjectId(b"x" * 12)}), b'"b"', b"plain", None, None]
    ids = ["a", str(ObjectId(b"x" * 12)), "b", "plain", "c", "d"]
    documents: list[Any] = [None, {}, None, None, {"_id": "c"}, None]

    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch(*({"_id": each, "n": 1} for each in [*ids, "kept"]))) == []
        failures = await sink.write(replace(batch(*documents, deletes=range(6)), keys=keys))

    assert [each.index for each in failures] == [5]
    assert "there is no '_id'" in str(failures[0].error)
    assert await desk.rows('"_id"') == [("d",), ("kept",)]


async def test_a_tombstone_is_a_delete_in_its_place_among_the_others(desk: Desk) -> None:
    documents = [{"_id": 1, "a": 1}, None, {"_id": 1, "b": 2}, {"_id": 2, "a": 1}, None]

    async with desk.sink(write_mode="upsert") as sink:
        assert await sink.write(replace(batch(*documents), keys=[None, b"1", None, None, b'{"_id":2}'])) == []

    assert await desk.rows('"_id", "a", "b"') == [(1, None, 2)]


async def test_a_key_of_several_columns_names_all_of_them(desk: Desk) -> None:
    keys = [b'{"id":1,"shop":"a","other":0}', b'{"id":1}', b"1"]

    async with desk.sink(write_mode="replace", key_columns=["shop", "id"]) as sink:
        assert await sink.write(batch({"id": 1, "shop": "a"}, {"id": 1, "shop": "b"})) == []
        failures = await sink.write(replace(batch(None, None, None), keys=keys))

    assert [each.index for each in failures] == [1, 2]
    assert await desk.rows('"shop", "id"') == [("b", 1)]


async def test_tombstones_are_passed_over_too(desk: Desk) -> None:
    async with desk.sink(write_mode="upsert", on_delete="ignore") as sink:
        assert await sink.write(replace(batch({"_id": 1}, None), keys=[None, b"1"])) == []

    assert await desk.rows('"_id"') == [(1,)]


# ----------------------------------------------------------------------------------------------------------- fields
async def test_with_new_fields_extra_they_are_kept_together(desk: Desk) -> None:
    await desk.execute('CREATE TABLE {t} ("id" BIGINT, "a" BIGINT)')

    async with desk.sink(new_fields="extra") as sink:
        assert await sink.write(batch({"id": 1, "a": 1}, {"id": 2, "b": [2], "c": "x"}, {"id": 3})) == []

    rows = await desk.rows('"id", "a", "_extra"')
    assert [(each[0], each[1], parsed(each[2])) for each in rows] == [
        (1, 1, None),
        (2, None, {"b": [2], "c": "x"}),
        (3, None, None),
    ]


async def test_with_new_fields_extra_the_first_batch_still_makes_the_columns(desk: Desk) -> None:
    async with desk.sink(new_fields="extra") as sink:
        assert await sink.write(batch({"id": 1})) == []
        assert await sink.write(batch({"id": 2, "new": 1})) == []

    assert await desk.columns() == ["id", "_extra"]
    assert parsed((await desk.rows('"id", "_extra"'))[1][1]) == {"new": 1}


async def test_with_new_fields_error_their_records_are_refused(desk: Desk) -> None:
    async with desk.sink(new_fields="error") as sink:
        assert await sink.write(batch({"id": 1})) == []
        failures = await sink.write(batch({"id": 2}, {"id": 3, "new": 1}, {"id": 4, "new": None}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id"') == [(1,), (2,), (4,)]


async def test_columns_json_keeps_keys_and_the_document(desk: Desk) -> None:
    records = [{"_id": each, "deep": {"n": [each, None, 2**70]}} for each in range(3)]

    async with desk.sink(columns="json", write_mode="upsert") as sink:
        assert await sink.write(batch(*records)) == []
        assert await sink.write(batch({"_id": 1, "new": True}, {"_id": 2}, deletes=[1])) == []

    assert await desk.columns() == ["_id", "document"]
    rows = [(key, parsed(document)) for key, document in await desk.rows('"_id", "document"')]
    assert rows == [(0, records[0]), (1, {"_id": 1, "new": True})]


async def test_columns_json_needs_no_key(desk: Desk) -> None:
    async with desk.sink(columns="json") as sink:
        assert await sink.write(batch({"a": 1}, {"b": "x"})) == []

    assert sorted(json.dumps(parsed(each)) for (each,) in await desk.execute('SELECT "document" FROM {t}')) == [
        '{"a": 1}',
        '{"b": "x"}',
    ]


async def test_names_of_fields_may_be_anything_a_database_takes(desk: Desk) -> None:
    names = ["order", "a b", "50%", "%s", 'quo"te', "back`tick", "semi;colon", "ü", "a.b", "?", ":x", "--"]

    async with desk.sink() as sink:
        assert await sink.write(batch({name: at for at, name in enumerate(names)})) == []
        assert await sink.write(batch({"new %(x)s": 1})) == []

    assert await desk.columns() == [*names, "new %(x)s"]


@pytest.mark.parametrize("name", ["", "n" * 600, "nul\0"])
async def test_a_name_that_no_column_can_have_refuses_its_record_alone(desk: Desk, name: str) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1}, {"id": 2, name: 1}, {"id": 3}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id"') == [(1,), (3,)]


async def test_names_that_differ_in_case_alone_do_not_share_a_column(desk: Desk) -> None:
    async with desk.sink() as sink:
        failures = await sink.write(batch({"id": 1, "name": "a"}, {"id": 2, "Name": "b"}, {"id": 3, "name": "c"}))

    assert [each.index for each in failures] == [1]
    assert await desk.rows('"id", "name"') == [(1, "a"), (3, "c")]


async def test_an_empty_batch_is_nothing(desk: Desk) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch()) == []


async def test_an_error_tells_no_value(desk: Desk) -> None:
    async with desk.sink(key_columns=["id"]) as sink:
        await sink.write(batch({"id": "planted-key", "n": 1}))
        failures = [
            *await sink.write(batch({"id": "planted-key", "n": 2})),
            *await sink.write(batch({"id": "x", "n": "planted-value"})),
            *await sink.write(batch({"id": "planted\ud800"})),
        ]

    assert len(failures) == 3
    assert [str(each.error) for each in failures if "planted" in str(each.error)] == []


async def test_a_constraint_of_the_table_refuses_its_record_alone(desk: Desk) -> None:
    await desk.execute('CREATE TABLE {t} ("id" BIGINT, "must" BIGINT NOT NULL)')

    async with desk.sink() as sink:
        failures = await sink.write(batch(*({"id": each, "must": None if each == 5 else 1} for each in range(10))))

    assert [each.index for each in failures] == [5]
    assert len(await desk.rows('"id"')) == 9


async def test_a_table_that_disappears_is_made_again(desk: Desk) -> None:
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1})) == []
        await desk.execute("DROP TABLE {t}")
        assert await sink.write(batch({"id": 2})) == []

    assert await desk.rows('"id"') == [(2,)]


async def test_a_record_of_10_mb_is_written(desk: Desk) -> None:
    text = "ü" * 5_000_000

    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1, "text": text})) == []

    [(size,)] = await desk.execute('SELECT LENGTH("text") FROM {t}')
    assert size in {5_000_000, 10_000_000}


async def test_a_number_with_more_digits_than_a_double_is_written_as_the_nearest_one(desk: Desk) -> None:
    await desk.execute('CREATE TABLE {t} ("id" INTEGER PRIMARY KEY, "price" DECIMAL(20, 4), "weight" DOUBLE PRECISION)')
    exact = number("0.12345678901234567890")

    async with desk.sink(key_columns=("id",), write_mode="upsert") as sink:
        failures = await sink.write(
            batch({"id": 1, "price": number("12.500000000000000000001"), "weight": exact}, {"id": 2, "price": 2.25})
        )
        huge = await sink.write(batch({"id": 3, "weight": number("1e400")}, {"id": 4, "weight": 4.0}))

    assert isinstance(exact, ExactNumber)
    assert failures == []
    found = await desk.rows('"id", "price", "weight"')
    assert [(one, float(price)) for one, price, _ in found[:2]] == [(1, 12.5), (2, 2.25)]
    assert found[0][2] == float(exact)
    assert len(huge) == (1 if desk.live.engine.name == "mysql" else 0)
    assert found[-1] == (4, None, 4.0)


async def test_a_whole_number_column_is_widened_by_a_fraction_with_more_digits_than_a_double(desk: Desk) -> None:
    exact = number("0.12345678901234567890")

    async with desk.sink() as sink:
        assert await sink.write(batch({"n": 1})) == []
        assert await sink.write(batch({"n": exact})) == []

    assert await desk.rows('"n"') == [(float(exact),), (1.0,)]


async def test_a_number_with_many_digits_is_no_text_to_a_column_of_others(desk: Desk) -> None:
    if desk.live.engine.name != "mysql":
        pytest.skip("only MariaDB takes a text for other than the number that it spells")
    await desk.execute("CREATE TABLE {t} (\"size\" ENUM('s', 'm'))")

    async with desk.sink() as sink:
        assert await sink.write(batch({"size": number("2.00000000000000000001")})) == []

    assert await desk.rows('"size"') == [("m",)]


@pytest.mark.parametrize("depth", [30, 200, 2000, 100_000])
async def test_a_value_that_is_nested_deeply_is_written_or_refused_alone(desk: Desk, depth: int) -> None:
    deep: Any = "bottom"
    for each in range(depth):
        deep = {"": deep} if each % 2 else [deep]

    async with desk.sink(write_mode="upsert") as sink:
        failures = await sink.write(batch({"_id": 1, "a": {"b": 1}}, {"_id": 2, "a": deep}, {"_id": 3, "a": []}))
        again = await sink.write(batch({"_id": 2, "a": deep}))

    written = [1, 3] if failures else [1, 2, 3]
    assert [each.index for each in failures] == [1] * bool(failures)
    assert len(again) == len(failures)
    assert all("RecursionError" not in str(each.error) for each in failures)
    assert [key for (key,) in await desk.rows('"_id"')] == written
    if not failures:
        ((found,),) = await desk.execute('SELECT "a" FROM {t} WHERE "_id" = 2')
        assert parsed(found) == deep


async def test_a_record_of_16_mb_is_written_or_refused_alone(desk: Desk) -> None:
    record = {"_id": 2, "text": "x" * (16 * 1024 * 1024), "inside": {"text": "y" * 1000}}

    async with desk.sink(write_mode="upsert") as sink:
        failures = await sink.write(batch({"_id": 1, "text": "a", "inside": {}}, record, {"_id": 3, "text": "b"}))

    written = [1, 3] if failures else [1, 2, 3]
    assert [each.index for each in failures] == [1] * bool(failures)
    assert [key for (key,) in await desk.rows('"_id"')] == written
