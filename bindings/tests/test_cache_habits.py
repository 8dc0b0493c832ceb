"""Caches have the habits people know from cachetools, written here from its documentation."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import MutableMapping
from typing import Any

import pytest

from evenly.cache import POLICIES, Cache, LFUCache, LRUCache, TTLCache

FAMILY = [
    pytest.param(LRUCache, id="LRUCache"),
    pytest.param(LFUCache, id="LFUCache"),
    pytest.param(lambda maxsize, getsizeof=None: TTLCache(maxsize, 3600, getsizeof=getsizeof), id="TTLCache"),
    *(
        pytest.param(lambda maxsize, getsizeof=None, policy=policy: Cache(maxsize, getsizeof, policy=policy), id=policy)
        for policy in POLICIES
    ),
]


@pytest.fixture(params=FAMILY)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_is_a_mapping_that_behaves_like_a_dict(make: Any) -> None:
    cache = make(10)
    assert isinstance(cache, MutableMapping)
    assert not cache and len(cache) == 0 and list(cache) == []
    cache.update({"a": 1, "b": 2}, c=3)
    assert cache == {"a": 1, "b": 2, "c": 3}
    assert list(cache) == ["a", "b", "c"]
    assert dict(cache.items()) == {"a": 1, "b": 2, "c": 3}
    assert list(cache.values()) == [1, 2, 3] and 2 in cache.values()
    assert ("b", 2) in cache.items() and ("b", 3) not in cache.items()
    assert "a" in cache and "z" not in cache
    assert cache.get("z") is None and cache.get("z", 9) == 9 and cache.get("z", default=9) == 9
    assert cache.pop("a") == 1 and cache.pop("a", None) is None
    assert cache.setdefault("b", 7) == 2 and cache.setdefault("d") is None
    del cache["d"]
    assert len(cache) == cache.currsize == 2
    cache.clear()
    assert len(cache) == cache.currsize == 0


def test_misses_are_key_errors_with_the_key(make: Any) -> None:
    cache = make(2)
    for attempt in (lambda: cache["x"], lambda: cache.pop("x"), lambda: cache.__delitem__("x")):
        with pytest.raises(KeyError) as caught:
            attempt()
        assert caught.value.args == ("x",)
    with pytest.raises(KeyError, match="is empty"):
        cache.popitem()


def test_never_exceeds_maxsize(make: Any) -> None:
    cache = make(3)
    for n in range(100):
        cache[n] = n
        assert len(cache) <= 3 and cache.currsize <= cache.maxsize == 3
        cache._validate()


def test_sizes_count(make: Any) -> None:
    cache = make(10, getsizeof=len)
    cache["a"] = "xxxx"
    assert (cache.currsize, cache.getsizeof("four")) == (4, 4)
    with pytest.raises(ValueError, match=r"value too large: size 11 \(maxsize 10\)"):
        cache["a"] = "x" * 11
    assert cache["a"] == "xxxx", "a refused value changes nothing"
    cache["b"] = "x" * 10
    assert dict(cache) == {"b": "x" * 10}
    with pytest.raises(ValueError, match="value size -1"):
        make(10, getsizeof=lambda value: -1)["a"] = 1
    for size in ("big", 1.5):
        with pytest.raises(TypeError, match=f"value size {size} .must be a whole number"):
            make(10, getsizeof=lambda value, size=size: size)["a"] = 1


def test_a_cache_for_nothing_keeps_nothing(make: Any) -> None:
    with pytest.raises(ValueError, match="value too large"):
        make(0)["a"] = 1


@pytest.mark.parametrize("maxsize", [-1, 1.5, math.nan, -math.inf, 2**64, 1e300])
def test_impossible_sizes_are_refused(make: Any, maxsize: float) -> None:
    with pytest.raises(ValueError, match=rf"maxsize {maxsize} .must be a whole number from 0 to".replace("+", ".")):
        make(maxsize)


@pytest.mark.parametrize("option", ["getsizeof", "timer", "on_evict"])
def test_what_will_be_called_must_be_callable(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} 7 .must be callable"):
        Cache(10, **{option: 7})  # type: ignore[arg-type]


def test_misses_count_once_whatever_asks() -> None:
    cache: Any = LRUCache(10)
    cache.get("a"), cache.get("a", 1), cache.get(key="a"), cache.get("a", default=1)
    with pytest.raises(KeyError):
        cache["a"]
    assert (cache.stats().misses, cache.stats().hits) == (5, 0)


def test_infinite_cache_holds_everything() -> None:
    cache: Any = LRUCache(math.inf)
    cache.update((n, n) for n in range(1000))
    assert len(cache) == 1000 and cache.maxsize == math.inf


def test_lru_forgets_what_was_unused_longest() -> None:
    cache: Any = LRUCache(2)
    cache[1] = 1
    cache[2] = 2
    assert cache[1] == 1
    cache[3] = 3
    assert list(cache) == [1, 3]
    assert cache.peek(1) == 1  # no use: 1 is still next
    assert cache.popitem() == (1, 1)


def test_lfu_forgets_what_was_used_least() -> None:
    cache: Any = LFUCache(2)
    cache[1] = 1
    cache[2] = 2
    assert cache[1] == cache[1] == 1
    cache[3] = 3
    assert list(cache) == [1, 3]


def test_ttl_ends_at_the_very_instant(timer: Any) -> None:
    cache: Any = TTLCache(3, ttl=1, timer=timer)
    cache["a"] = 1
    timer.now = 0.25
    cache["b"] = 2
    timer.now = 0.999999
    assert cache["a"] == 1 and len(cache) == 2
    timer.now = 1.0
    assert "a" not in cache and cache.get("a") is None and list(cache) == ["b"] and len(cache) == 1
    with pytest.raises(KeyError):
        cache.pop("a")
    timer.now = 1.25
    assert len(cache) == cache.currsize == 0
    with pytest.raises(KeyError):
        cache.popitem()


def test_the_dead_make_room_before_the_living(timer: Any, departed: Any) -> None:
    heard, listener = departed
    cache: Any = TTLCache(2, ttl=10, timer=timer, on_evict=listener)
    cache.insert("short", 1, ttl=1)
    cache["long"] = 2
    assert cache["short"] == 1  # "long" is now least recently used
    timer.now = 1
    cache["new"] = 3
    assert list(cache) == ["long", "new"]
    assert heard == [("short", 1, "expired")]


def test_writing_again_gives_a_new_life(timer: Any) -> None:
    cache: Any = TTLCache(2, ttl=2, timer=timer)
    cache["a"] = 1
    timer.now = 1
    cache["a"] = 2
    timer.now = 2.5
    assert cache["a"] == 2
    timer.now = 3
    assert "a" not in cache
    cache["a"] = 3  # after its death it is a newcomer
    assert list(cache) == ["a"]


@pytest.mark.parametrize("ttl", [0, -1, math.nan])
def test_impossible_times_are_refused(ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        TTLCache(1, ttl)
    with pytest.raises(ValueError, match="ttl"):
        LRUCache(1).insert("a", 1, ttl=ttl)


def test_listeners_hear_every_cause(departed: Any, timer: Any) -> None:
    heard, listener = departed
    cache: Any = TTLCache(2, 5, timer, on_evict=listener)
    cache["a"] = 1
    cache["a"] = 2
    cache["b"] = 3
    cache["c"] = 4
    del cache["b"]
    timer.now = 5
    assert cache.get("c") is None
    assert heard == [("a", 1, "replaced"), ("a", 2, "size"), ("b", 3, "explicit"), ("c", 4, "expired")]
    stats = cache.stats()
    assert (stats.replaced, stats.evicted, stats.explicit, stats.expired) == (1, 1, 1, 1)


def test_changing_while_iterating_is_an_error(make: Any) -> None:
    cache = make(10)
    cache.update({"a": 1, "b": 2})
    for key in cache:
        assert cache[key]  # reading is not changing
        cache[key] = 3  # nor is writing to a key that is there
    with pytest.raises(RuntimeError, match="changed during iteration"):
        for key in cache:
            cache[key + key] = 1


def test_resize_parts_with_what_does_not_fit(make: Any) -> None:
    cache = make(10)
    cache.update((n, n) for n in range(10))
    cache.resize(4)
    assert len(cache) == cache.maxsize == 4
    cache.resize(20)
    cache.update((n, n) for n in range(20))
    assert len(cache) == 20


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_copies_and_pickles_keep_contents_and_order(clone: Any) -> None:
    cache: Any = LRUCache(3, getsizeof=len)
    cache["a"], cache["b"], cache["c"] = "x", "y", "z"
    assert cache["a"] == "x"
    twin = clone(cache)
    assert type(twin) is LRUCache and dict(twin) == dict(cache) and twin.maxsize == 3
    assert twin.popitem() == ("b", "y")
    assert len(cache) == 3


def test_pickled_entries_keep_the_time_they_have_left() -> None:
    cache: Any = TTLCache(2, ttl=100)
    cache["a"] = 1
    cache.insert("b", 2, ttl=math.inf)
    twin = pickle.loads(pickle.dumps(cache))
    left = {key: seconds for key, _, seconds in twin._dump()}
    assert 99 < left["a"] <= 100 and left["b"] is None


class Making(LRUCache):
    def __missing__(self, key: Any) -> Any:
        self[key] = made = key * 2
        return made


def test_subclass_may_make_missing_values() -> None:
    cache: Any = Making(2)
    assert cache[4] == 8 and dict(cache) == {4: 8}
    assert cache.get(5) is None and cache.pop(5, 0) == 0, "only [] makes values"


class Remembering(LRUCache):
    def __init__(self, maxsize: int, note: str) -> None:
        super().__init__(maxsize)
        self.note, self.popped = note, []

    def popitem(self) -> Any:
        item = super().popitem()
        self.popped.append(item)
        return item

    def getsizeof(self, value: Any) -> int:
        return int(value)


def test_subclass_may_send_away_by_its_own_popitem_and_weigh_by_its_own_sizes() -> None:
    cache = Remembering(5, note="mine")
    cache["a"], cache["b"], cache["c"] = 2, 3, 4
    assert cache.popped == [("a", 2), ("b", 3)] and dict(cache) == {"c": 4}
    twin = pickle.loads(pickle.dumps(cache))
    assert (twin.note, twin.currsize, dict(twin)) == ("mine", 4, {"c": 4})


def test_repr_and_types() -> None:
    cache: Any = LRUCache(2)
    cache["a"] = [cache.maxsize]
    assert repr(cache) == "LRUCache({'a': [2]}, maxsize=2, currsize=1)"
    typed = LRUCache[str, int](3)
    assert type(typed) is LRUCache and typed.maxsize == 3
    with pytest.raises(TypeError):
        hash(cache)
    with pytest.raises(ValueError, match="unknown cache policy \"mru\""):
        Cache(1, policy="mru")


def test_stats_tell_the_hit_ratio() -> None:
    cache: Any = LRUCache(2)
    cache["a"] = 1
    assert cache.get("a") and cache.get("b") is None and cache.peek("b") is None and "b" not in cache
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.hit_ratio, stats.inserts, stats.currsize) == (1, 1, 0.5, 1, 1)
