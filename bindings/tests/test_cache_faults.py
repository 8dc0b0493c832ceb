"""What goes wrong in other caches must not go wrong here: each test names where it was seen."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import weakref
from typing import Any

import pytest

from evenly.cache import POLICIES, Cache, LRUCache, TTLCache


class Meddling:
    """A key whose comparison uses the cache."""

    def __init__(self, name: str, cache: Any) -> None:
        self.name, self.cache, self.compared = name, cache, 0

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        self.cache["touched"] = self.cache.get("touched", 0) + 1
        len(self.cache), list(self.cache)
        return isinstance(other, Meddling) and other.name == self.name


def test_comparing_may_use_the_cache(within: Any) -> None:  # cachebox deadlocks
    cache: Any = LRUCache(10)

    def work() -> Any:
        cache[Meddling("a", cache)] = 1
        cache[Meddling("b", cache)] = 2
        assert cache[Meddling("a", cache)] == 1
        del cache[Meddling("a", cache)]
        return cache.get(Meddling("b", cache)), cache.get(Meddling("a", cache))

    assert within(20, work) == (2, None)
    assert cache["touched"] > 0
    cache._validate()


def test_comparing_may_empty_the_cache(within: Any) -> None:
    cache: Any = LRUCache(10)

    class Emptying:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            cache.clear()
            return True

    def work() -> Any:
        cache[Emptying()] = 1
        cache[Emptying()] = 2
        return cache.get(Emptying(), "gone"), len(cache)

    assert within(20, work) == ("gone", 0)


def test_a_value_may_use_the_cache_when_it_dies(within: Any) -> None:  # cachebox deadlocks
    cache: Any = LRUCache(2)
    heard = []

    class Dying:
        def __del__(self) -> None:
            heard.append(len(cache))
            cache.get("x")

    def work() -> bool:
        for n in range(10):
            cache[n] = Dying()
        cache[9] = None
        del cache[8]
        cache.clear()
        return True

    assert within(20, work)
    assert len(heard) == 10


@pytest.mark.parametrize("use", ["__contains__", "peek", "get", "pop", "setdefault"])
def test_a_key_may_use_the_cache_when_it_dies_of_being_compared(use: str, within: Any) -> None:
    cache: Any = LRUCache(10)
    heard = []

    class Dying:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            cache.clear()
            return False

        def __del__(self) -> None:
            heard.append(len(cache))

    def work() -> bool:
        cache[Dying()] = 1
        ask = getattr(cache, use)
        ask(Dying(), None) if use in ("pop", "peek", "get", "setdefault") else ask(Dying())
        return True

    assert within(20, work)
    cache.clear()
    assert len(heard) == 2


def test_listeners_and_sizers_may_use_the_cache(within: Any) -> None:
    cache: Any = LRUCache(2, lambda value: max(1, len(cache) - 1), on_evict=lambda key, value, cause: cache.get(key))

    def work() -> bool:
        for n in range(10):
            cache[n] = n
        return True

    assert within(20, work)


class Failing:
    def __hash__(self) -> int:
        return 3

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("no comparing")


@pytest.mark.parametrize("use", ["get", "__getitem__", "__contains__", "pop", "__delitem__", "peek", "setdefault"])
def test_errors_of_eq_come_out(use: str) -> None:  # moka-py swallows them
    cache: Any = LRUCache(4)
    stored = Failing()
    cache[stored] = 1
    references = sys.getrefcount(stored)
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            getattr(cache, use)(Failing())
        with pytest.raises(ZeroDivisionError):
            cache[Failing()] = 2
    assert sys.getrefcount(stored) == references
    assert cache[stored] == 1, "the same object is itself, whatever __eq__ says"


@pytest.mark.parametrize("key", [[], {}, set(), (1, [])])
def test_unhashable_keys_are_type_errors(key: Any) -> None:  # lru-dict returns None
    cache: Any = LRUCache(4)
    for use in (cache.get, cache.peek, cache.pop, cache.__contains__, cache.__getitem__, cache.setdefault):
        with pytest.raises(TypeError, match="unhashable"):
            use(key)


def test_an_interrupt_while_hashing_comes_out() -> None:
    class Interrupted:
        def __hash__(self) -> int:
            raise KeyboardInterrupt

    cache: Any = LRUCache(4)
    for use in (cache.get, cache.__getitem__, lambda key: cache.__setitem__(key, 1)):
        with pytest.raises(KeyboardInterrupt):
            use(("a", Interrupted()))
    assert cache.stats()[:3] == (0, 0, 0), "nothing has happened"


class Text(str):
    """A str that is not exactly one."""


@pytest.mark.parametrize(
    "equal",
    [
        ("key", "".join(["k", "ey"]), Text("key")),
        ("schl\u00fcssel", "schl" + chr(0xFC) + "ssel"),
        ("\u9375", chr(0x9375)),
        ("\U0001f511!", chr(0x1F511) + "!"),
        (1, 1.0, True),
        (10**30, 10**29 * 10),
        (b"key", bytes(bytearray(b"key"))),
        (("a", 1), tuple(["a", 1]), ("a", 1.0), ("a", True), (Text("a"), 1)),
        (("a", ("b",)), ("a", tuple("b"))),
        (frozenset("ab"), frozenset("ba")),
    ],
)
def test_equal_keys_are_one_key_whatever_they_are(equal: Any) -> None:
    for kept in equal:
        cache: Any = LRUCache(4)
        cache[kept] = "kept"
        for key in equal:
            assert cache.get(key) == cache[key] == cache.peek(key) == "kept" and key in cache
            cache[key] = "kept"
        assert len(cache) == 1 and next(iter(cache)) is kept
        assert cache.stats().misses == 0


def test_texts_that_look_alike_are_told_apart() -> None:
    keys = ["", "a", "b", "\u0101", "a\x01", "\x01\x01", "\U00010101", "aa", "key", "kez"]
    cache: Any = LRUCache(100)
    for key in keys:
        cache[key] = key
    assert [cache[key] for key in keys] == keys and len(cache) == len(keys)


def test_errors_of_listeners_come_out_after_the_deed() -> None:
    def fail(key: Any, value: Any, cause: str) -> None:
        raise ZeroDivisionError(cause)

    cache: Any = LRUCache(1, on_evict=fail)
    cache["a"] = 1
    with pytest.raises(ZeroDivisionError, match="size"):
        cache["b"] = 2
    assert dict(cache) == {"b": 2}


def test_errors_of_timers_come_out() -> None:
    cache: Any = TTLCache(1, 1, timer=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache["a"] = 1
    cache = TTLCache(1, 1, timer=lambda: float("nan"))
    with pytest.raises(ValueError, match="the timer said NaN"):
        cache["a"] = 1


def test_cycles_through_values_are_collected() -> None:  # moka-py leaks them
    class Node:
        pass

    for policy in POLICIES:
        node: Any = Node()
        node.cache = Cache(4, policy=policy, on_evict=lambda *_, node=node: None)
        node.cache["self"] = node
        node.cache["walk"] = iter(node.cache)
        gone = weakref.ref(node)
        del node
        gc.collect()
        assert gone() is None, policy


def test_a_million_operations_leak_nothing() -> None:
    cache: Any = LRUCache(100)
    key, value = object(), object()

    def churn(rounds: int) -> None:
        for n in range(rounds):
            cache[n % 300] = value
            cache.get(n % 200)
            cache[key] = value
            cache.pop(key)
            cache.get(key, None)

    churn(3000)
    cache.clear()
    references = sys.getrefcount(key), sys.getrefcount(value)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    churn(200_000)
    cache.clear()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == references
    assert grown < 20_000, f"{grown} bytes"


def test_eight_threads_hammer_one_cache(eight_at_once: Any) -> None:  # cachetools raises KeyError under four
    cache: Any = TTLCache(50, ttl=0.01)

    def hammer(thread: int) -> None:
        seed = thread + 1
        for n in range(4000):
            key = (n * seed) % 97
            cache[key] = key
            found = cache.get((n + seed) % 97)
            assert found is None or found == (n + seed) % 97
            cache.pop(n % 97, None)
            if n % 100 == 0:
                len(cache), list(cache.items()), cache.stats()

    eight_at_once(hammer)
    cache._validate()


def test_importing_starts_no_thread() -> None:  # theine starts one
    code = "import threading, evenly, evenly.balancers, evenly.redis; assert threading.active_count() == 1, threading.enumerate()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: LRUCache.__new__(LRUCache).get("never set up"),
        lambda: LRUCache(1).resize(-1),
        lambda: LRUCache(2**70),
        lambda: LRUCache("many"),
        lambda: LRUCache(1).insert("a", 1, ttl=1e300),
        lambda: LRUCache(1).pop(1, 2, 3),
        lambda: TTLCache(1, ttl=float("inf")).get("a"),
        lambda: TTLCache(1, ttl=1e-300).get("a"),
        lambda: Cache(2**63).__setitem__("a", 1),
        lambda: TTLCache(1, 1, timer=lambda: 1e300).__setitem__(1, 1),
        lambda: TTLCache(1, 1, timer=lambda: -1e300).__setitem__(1, 1),
    ],
)
def test_no_input_panics(attempt: Any) -> None:
    try:
        attempt()
    except (ValueError, TypeError, OverflowError, KeyError):
        pass  # refused in Python's words; a panic would be a BaseException
