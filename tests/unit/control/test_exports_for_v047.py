"""Which jobs v0.47 could run as they are."""

from typing import Any

import pytest

from mstream.control.exports import _is_job_of_v047


@pytest.mark.parametrize(
    ("keys", "fits"),
    [
        ({}, True),
        ({"json_mode": "flat"}, True),
        ({"json_mode": "canonical"}, False),
        ({"output_encoding": "text"}, False),
    ],
)
def test_json_that_is_not_flat_is_nothing_for_v047(keys: dict[str, Any], fits: bool) -> None:
    sink = {"service_name": "bus", "resource": "orders", "output_encoding": "json", **keys}
    pipeline = {"source": {"service_name": "db", "resource": "orders"}, "sinks": [sink]}

    assert _is_job_of_v047({"pipeline": pipeline}, {}) is fits
