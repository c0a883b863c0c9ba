"""A position is safe once its batch and every earlier one are settled, never before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mstream.engine.settlement import Settlement

lanes = st.sampled_from(["a", "b", "c"])


@st.composite
def flows(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """The lane of each batch, and the order in which the batches settle."""
    batches = draw(st.lists(lanes, min_size=1, max_size=12))
    order = draw(st.permutations(range(len(batches))))
    return batches, order


@given(flows())
def test_never_past_an_open_batch(flow: tuple[list[str], list[int]]) -> None:
    batches, order = flow
    settlement = Settlement()
    tickets = [settlement.track({lane: number}) for number, lane in enumerate(batches)]
    unsettled = set(range(len(batches)))

    for index in order:
        unsettled.discard(index)
        safe = settlement.settle(tickets[index])
        assert all(number < min(unsettled, default=len(batches)) for number in safe.values())

    assert not settlement.is_open()


@given(flows())
def test_everything_settled_is_safe_in_the_end(flow: tuple[list[str], list[int]]) -> None:
    batches, order = flow
    settlement = Settlement()
    tickets = [settlement.track({lane: number}) for number, lane in enumerate(batches)]
    safe: dict[str, object] = {}

    for index in order:
        safe.update(settlement.settle(tickets[index]))

    assert safe == {lane: number for number, lane in enumerate(batches)}


@given(flows(), st.data())
def test_nothing_after_a_batch_that_was_cut_is_safe(flow: tuple[list[str], list[int]], data: st.DataObject) -> None:
    batches, order = flow
    settlement = Settlement()
    tickets = [settlement.track({lane: number}) for number, lane in enumerate(batches)]
    last = data.draw(st.sampled_from(range(len(batches))))
    settlement.cut(tickets[last], {"cut": -1})
    safe: dict[str, object] = {}

    for index in order:
        safe.update(settlement.settle(tickets[index]))

    assert safe == {**{lane: number for number, lane in enumerate(batches[:last])}, "cut": -1}


@given(flows(), lanes)
def test_a_forgotten_lane_gets_no_safe_position(flow: tuple[list[str], list[int]], lane: str) -> None:
    batches, order = flow
    settlement = Settlement()
    tickets = [settlement.track({each: number}) for number, each in enumerate(batches)]
    settlement.forget([lane])

    for index in order:
        assert lane not in settlement.settle(tickets[index])
