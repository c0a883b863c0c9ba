"""The keys under which lanes are stored."""

from __future__ import annotations

from mstream.domain.checkpoint import lane_key


def test_no_job_has_lanes_that_look_like_another_jobs() -> None:
    assert lane_key("a", "b/c") != lane_key("a/b", "c")
    assert not lane_key("a/b", "c").startswith(lane_key("a", ""))


def test_a_plain_name_stays_readable() -> None:
    assert lane_key("orders", "2026/11.jsonl") == "orders/2026/11.jsonl"
