"""What all tests share."""

from __future__ import annotations

import os
from typing import Any, Callable

import hypothesis
import pytest

# `PROPTEST_CASES` raises the number of cases here as it does in Rust.
hypothesis.settings.register_profile(
    "evenly", max_examples=int(os.environ.get("PROPTEST_CASES", "50")), deadline=None, stateful_step_count=60
)
hypothesis.settings.load_profile("evenly")


class ManualTimer:
    """Time in seconds that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> ManualTimer:
    return ManualTimer()


@pytest.fixture
def departed() -> tuple[list[Any], Callable[[Any, Any, str], None]]:
    """A list, and a listener that fills it."""
    heard: list[Any] = []
    return heard, lambda key, value, cause: heard.append((key, value, cause))
