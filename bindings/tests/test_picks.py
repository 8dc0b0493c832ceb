"""The picks of every algorithm are Rust's: the file is made, and held to, by balancers/tests/picks.rs."""

from __future__ import annotations

import pathlib
from collections import deque

import pytest

from evenly.balancers import ALGORITHMS, Pool

FILE = pathlib.Path(__file__).parents[2] / "balancers" / "tests" / "golden" / "picks.txt"
ROWS = [line.split() for line in FILE.read_text().splitlines() if not line.startswith("#")]
WEIGHTS = {"a": 1, "b": 1, "c": 2, "d": 3, "e": 5, "f": 1, "g": 4}


@pytest.mark.parametrize(("algorithm", "seed", "expected"), ROWS)
def test_picks_are_those_of_rust(algorithm: str, seed: str, expected: str) -> None:
    pool = Pool(WEIGHTS, algorithm, seed=int(seed))
    held: deque[object] = deque()
    picked = ""
    for n in range(len(expected)):
        lease = pool.pick(None if n % 5 == 4 else f"key-{n % 97}")
        picked += lease.member
        held.append(lease)
        del lease
        if len(held) > 9:
            held.popleft()
    assert picked == expected


def test_every_algorithm_is_there() -> None:
    assert {row[0] for row in ROWS} == set(ALGORITHMS)
