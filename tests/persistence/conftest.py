"""What simulations share."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture
def quiet() -> None:
    """What is logged in so many stories is of no interest, and takes most of their time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
