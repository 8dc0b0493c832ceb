"""The same operations, the same answers: against cachetools, and against a dict that forgets nothing."""

from __future__ import annotations

from typing import Any

import cachetools
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evenly.cache import POLICIES, Cache, LFUCache, LRUCache, TTLCache

# Keys that are equal across types, that share hashes, and that are compared by Python code.
KEYS = st.sampled_from([0, 1, 1.0, True, "a", "b", b"a", (), (1,), (1.0,), ("a", 2), frozenset({1}), -1, -2, None, 2**61 - 1])


class AgainstCachetools(RuleBasedStateMachine):
    """One of ours and its model."""

    ours: Any
    model: Any
    now = 0.0

    @rule(key=KEYS, value=st.integers(0, 4))
    def put(self, key: Any, value: int) -> None:
        outcomes = []
        for cache in (self.ours, self.model):
            try:
                cache[key] = value
                outcomes.append("kept")
            except ValueError:
                outcomes.append("too large")
        assert outcomes[0] == outcomes[1]

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        assert self.ours.get(key, "nothing") == self.model.get(key, "nothing")

    @rule(key=KEYS)
    def subscript(self, key: Any) -> None:
        answers = []
        for cache in (self.ours, self.model):
            try:
                answers.append(cache[key])
            except KeyError as error:
                answers.append(("missing", error.args))
        assert answers[0] == answers[1]

    @rule(key=KEYS)
    def pop(self, key: Any) -> None:
        assert self.ours.pop(key, "nothing") == self.model.pop(key, "nothing")

    @rule(key=KEYS, value=st.integers(0, 4))
    def setdefault(self, key: Any, value: int) -> None:
        if value <= self.ours.maxsize:
            assert self.ours.setdefault(key, value) == self.model.setdefault(key, value)

    @precondition(lambda self: len(self.model) > 0)
    @rule()
    def popitem(self) -> None:
        assert self.ours.popitem() == self.model.popitem()

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def clear(self) -> None:
        self.ours.clear()
        self.model.clear()

    @invariant()
    def hold_the_same(self) -> None:
        self.ours._validate()
        assert len(self.ours) == len(self.model)
        assert self.ours.currsize == self.model.currsize
        assert set(self.ours) == set(self.model)


class Lru(AgainstCachetools):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.model = LRUCache(4), cachetools.LRUCache(4)

    @invariant()
    def iterate_in_one_order(self) -> None:
        assert [repr(key) for key in self.ours] == [repr(key) for key in self.model]


class Lfu(AgainstCachetools):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.model = LFUCache(4), cachetools.LFUCache(4)


class SizedLru(AgainstCachetools):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.model = LRUCache(7, int), cachetools.LRUCache(7, int)


class Ttl(AgainstCachetools):
    def __init__(self) -> None:
        super().__init__()
        self.ours = TTLCache(4, 2.0, lambda: self.now)
        self.model = cachetools.TTLCache(4, 2.0, lambda: self.now)


TestLru = Lru.TestCase
TestLfu = Lfu.TestCase
TestSizedLru = SizedLru.TestCase
TestTtl = Ttl.TestCase


class NeverWrong(RuleBasedStateMachine):
    """Every policy may forget, but what it returns is what was stored last, and it keeps within its size."""

    def __init__(self) -> None:
        super().__init__()
        self.caches = [Cache(3, policy=policy) for policy in POLICIES]
        self.stored: dict[Any, int] = {}

    @rule(key=KEYS, value=st.integers())
    def put(self, key: Any, value: int) -> None:
        self.stored[key] = value
        for cache in self.caches:
            cache[key] = value

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        for cache in self.caches:
            found = cache.get(key)
            assert found is None or found == self.stored[key]

    @rule(key=KEYS)
    def remove(self, key: Any) -> None:
        self.stored.pop(key, None)
        for cache in self.caches:
            cache.pop(key, None)

    @invariant()
    def within_size(self) -> None:
        for cache in self.caches:
            cache._validate()
            assert len(cache) <= 3
            assert dict(cache).items() <= self.stored.items()


TestNeverWrong = NeverWrong.TestCase
