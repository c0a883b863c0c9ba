"""What a table must become, which rows are made, and in which order: without a database."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mstream.domain.batch import Operation
from mstream.foundation.tagged_json import from_text, to_text
from mstream.providers.sql.columns import Column, Kind, Misfit, to_json
from mstream.providers.sql.config import Dialect, SqlSinkOptions
from mstream.providers.sql.grammar import Grammar
from mstream.providers.sql.planning import Fields, Plan, Table, plan
from mstream.providers.sql.rows import Entry, RowMaker, Shape, in_turn, sort, steps


def planned(table: Table | None, documents: list[dict[str, Any]], **options: Any) -> Plan:
    made = SqlSinkOptions.model_validate(options)
    return plan(table, "t", Fields.of(documents), made, Grammar(Dialect.SQLITE).can_be_column)


def table(*, ours: bool = True, keys: tuple[str, ...] = (), **columns: Kind) -> Table:
    return Table(name="t", columns={n: Column(n, each) for n, each in columns.items()}, keys=keys, ours=ours)


def kinds(found: Any) -> dict[str, Kind]:
    return {each.name: each.kind for each in found}


def test_the_first_value_decides_and_a_fraction_makes_whole_numbers_fractions() -> None:
    made = planned(None, [{"a": None, "b": 1, "c": "x"}, {"a": True, "b": 1.5, "c": 1}])

    assert made.create is not None
    assert kinds(made.create.columns.values()) == {"a": Kind.BOOLEAN, "b": Kind.DOUBLE, "c": Kind.TEXT}


def test_keys_stand_first_also_when_no_record_has_them() -> None:
    made = planned(None, [{"a": 1, "id": 2}], key_columns=["id", "other"])

    assert made.create is not None
    assert list(made.create.columns) == ["id", "other", "a"]


def test_a_table_that_fits_needs_nothing() -> None:
    assert not planned(table(a=Kind.BIGINT), [{"a": 1}, {"b": None}])


def test_a_key_column_is_never_widened() -> None:
    assert not planned(table(keys=("a",), a=Kind.BIGINT), [{"a": 1.5}], key_columns=["a"])


def test_columns_that_differ_in_case_alone_are_added_once() -> None:
    assert kinds(planned(table(), [{"New": 1, "new": 2}]).add) == {"New": Kind.BIGINT}


def test_extra_asks_for_its_column_alone() -> None:
    assert kinds(planned(table(a=Kind.BIGINT), [{"b": 1}], new_fields="extra").add) == {"_extra": Kind.JSON}


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, {1, 2}, {"a": object()}])
def test_json_is_never_written_with_a_loss(value: object) -> None:
    with pytest.raises(Misfit):
        to_json(value)


def test_whole_numbers_beyond_64_bits_stay_exact_in_json() -> None:
    assert to_json({"a": [2**70, None]}) == f'{{"a":[{2**70},null]}}'


def test_ignored_deletes_are_neither_written_nor_refused() -> None:
    options = SqlSinkOptions.model_validate({"on_delete": "ignore"})

    found = sort([{}, {}], [Operation.DELETE, Operation.UPDATE], options)

    assert (found.puts, found.deletes, found.refused) == ([1], [], {})


def test_a_healthy_batch_is_one_step() -> None:
    documents = [{"_id": each, "a": each} for each in range(100)]
    options = SqlSinkOptions.model_validate({"write_mode": "upsert"})
    maker = RowMaker(table(keys=("_id",), _id=Kind.BIGINT, a=Kind.BIGINT), options, Dialect.SQLITE, {})

    made = maker.puts(documents, range(100), Fields.of(documents))

    assert not isinstance(made, list)
    assert made.rows == [(each, each) for each in range(100)]


SHAPES = [Shape(("k", "a")), Shape(("k", "b")), Shape(("k",), deletes=True)]
ENTRIES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SHAPES)), max_size=30).map(
    lambda found: [Entry(at, shape, (key, at), (key,)) for at, (key, shape) in enumerate(found)]
)


def applied(found: Any) -> dict[Any, dict[str, int]]:
    """Each row's last writer per column."""
    state: dict[Any, dict[str, int]] = {}
    for step in found:
        for key, number in step.rows:
            if step.shape.deletes:
                state.pop(key, None)
            else:
                state.setdefault(key, {})[step.shape.names[-1]] = number
    return state


@given(ENTRIES)
def test_steps_do_what_the_records_one_by_one_would(entries: list[Entry]) -> None:
    assert applied(steps(entries, overrides=True)) == applied(in_turn(entries))
    assert [index for step in in_turn(entries) for index in step.indexes] == [each.index for each in entries]


@given(ENTRIES)
def test_within_a_step_no_key_comes_twice(entries: list[Entry]) -> None:
    for overrides in (True, False):
        for step in steps(entries, overrides=overrides):
            keys = [key for key, _ in step.rows]
            assert len(set(keys)) == len(keys)


@given(ENTRIES)
def test_without_overriding_no_record_is_left_out(entries: list[Entry]) -> None:
    found = sorted(index for step in steps(entries, overrides=False) for index in step.indexes)

    assert found == [each.index for each in entries]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["$bytes", "$time", "$plain"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_document_is_the_same_after_its_text(document: dict[str, Any]) -> None:
    assert from_text(to_text(document)) == document


@pytest.mark.parametrize("dialect", Dialect)
def test_a_name_is_quoted_whatever_it_is(dialect: Dialect) -> None:
    grammar = Grammar(dialect)
    mark = "`" if dialect is Dialect.MYSQL else '"'

    assert grammar.quoted(f"a{mark}; DROP") == f"{mark}a{mark}{mark}; DROP{mark}"
