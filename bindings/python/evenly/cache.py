"""Caches with the habits of `cachetools`, in Rust: exact, thread-safe, with time to live, single flight and counts.

>>> from evenly.cache import LRUCache
>>> cache = LRUCache(maxsize=2)
>>> cache["a"], cache["b"] = 1, 2
>>> cache["a"]
1
>>> cache["c"] = 3  # no room: "b" was used least recently
>>> cache
LRUCache({'a': 1, 'c': 3}, maxsize=2, currsize=2)

Python code that a cache calls (`__hash__`, `__eq__`, `getsizeof`, `timer`, `on_evict`, loaders) runs outside its lock and
may use the cache. Iteration, `items()`, `values()` and `==` follow the order in which the keys came and do not count as use.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import Any, Callable, NamedTuple, TypeVar

from . import _evenly
from ._flight import Flights

__all__ = ["POLICIES", "Cache", "CacheStats", "LFUCache", "LRUCache", "TTLCache", "TinyLFUCache"]

#: The names of all policies.
POLICIES: tuple[str, ...] = _evenly.POLICIES


K = TypeVar("K")
V = TypeVar("V")

class CacheStats(NamedTuple):
    """What a cache has done so far, and what it holds now."""

    hits: int
    misses: int
    inserts: int
    expired: int
    explicit: int
    replaced: int
    evicted: int
    rejected: int
    currsize: int
    maxsize: float

    @property
    def hit_ratio(self) -> float:
        """Hits in all lookups, 0 to 1; 0 before the first."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


class Cache(_evenly.CacheBase[K, V], MutableMapping[K, V]):
    """A bounded mapping that forgets by `policy` (one of `POLICIES`) and, with `ttl`, after so many seconds.

    `getsizeof(value)` makes `maxsize` count sizes instead of entries. `timer()` tells the time in seconds; without it, the
    system's monotonic clock does, at next to no cost. `on_evict(key, value, cause)` hears of each entry that leaves;
    causes are "expired", "explicit", "replaced", "size" and "rejected".
    """

    __slots__ = ("_flights",)

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[V], int] | None = None,
        *,
        policy: str = "lru",
        ttl: float | None = None,
        timer: Callable[[], float] | None = None,
        on_evict: Callable[[K, V, str], object] | None = None,
    ) -> None:
        for name, function in (("getsizeof", getsizeof), ("timer", timer), ("on_evict", on_evict)):
            if not (function is None or callable(function)):
                raise TypeError(f"{name} {function!r} (must be callable)")
        kind = type(self)
        if getsizeof is None and kind.getsizeof is not Cache.getsizeof:
            getsizeof = self.getsizeof
        self._flights: Flights = Flights()
        self._setup(
            maxsize=maxsize,
            policy=policy,
            sizer=getsizeof,
            ttl=ttl,
            timer=timer,
            on_evict=on_evict,
            has_missing=kind.__missing__ is not Cache.__missing__,
            has_popitem=kind.popitem is not Cache.popitem,
        )

    def __missing__(self, key: K) -> V:
        """What `cache[key]` does when there is nothing; a subclass may make the value, and store it or not."""
        raise KeyError(key)

    def getsizeof(self, value: V) -> int:
        """The size of a value, as it counts towards `maxsize`."""
        sizer = self._sizer
        return 1 if sizer is None else sizer(value)

    def get_or_insert(self, key: K, make: Callable[[], V], *, ttl: float | None = None) -> V:
        """The value under `key`, made by `make()` and stored if there is none.

        Of many threads that ask at once, one makes the value and the others wait for it. If making fails, its caller
        gets the error, and so does everyone who waited for it; nothing is stored.
        """
        found: Any = self.get(key, _NOTHING)
        if found is not _NOTHING:
            return found  # type: ignore[no-any-return]

        def load() -> V:
            value = make()
            try:
                self.insert(key, value, ttl=ttl)
            except ValueError:
                if ttl is not None and not ttl > 0:
                    raise
                # Too large to keep is not too large to use.
            return value

        return self._flights.run(key, lambda: self.peek(key, _NOTHING), load, _NOTHING)  # type: ignore[no-any-return]

    def stats(self) -> CacheStats:
        """What has happened so far."""
        return CacheStats(*self._counts(), self.currsize, self.maxsize)  # type: ignore[call-arg]

    def values(self) -> ValuesView[V]:
        """The values in the order in which their keys came; looking does not count as use."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """The pairs in the order in which the keys came; looking does not count as use."""
        return _Items(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key!r}: {value!r}" for key, value in self._pairs())
        return f"{type(self).__name__}({{{shown}}}, maxsize={self.maxsize!r}, currsize={self.currsize!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Contents, order of use, remaining times and settings; not counts of hits, nor how often entries were used."""
        state = {
            "maxsize": self.maxsize,
            "policy": self.policy,
            "sizer": None if type(self).getsizeof is not Cache.getsizeof else self._sizer,
            "ttl": self.ttl,
            "timer": self._timer,
            "on_evict": self.on_evict,
            "entries": self._dump(),
            "attributes": getattr(self, "__dict__", None),
        }
        return _bare, (type(self),), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["attributes"]:
            self.__dict__.update(state["attributes"])
        Cache.__init__(
            self,
            state["maxsize"],
            state["sizer"],
            policy=state["policy"],
            ttl=state["ttl"],
            timer=state["timer"],
            on_evict=state["on_evict"],
        )
        for key, value, left in state["entries"]:
            self.insert(key, value, ttl=math.inf if left is None else left)

    def __copy__(self) -> Cache[K, V]:
        make, args, state = self.__reduce__()
        copy: Cache[K, V] = make(*args)
        copy.__setstate__(state)
        return copy


class LRUCache(Cache[K, V]):
    """The entry unused for the longest time leaves."""

    __slots__ = ()

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[V], int] | None = None,
        *,
        on_evict: Callable[[K, V, str], object] | None = None,
    ) -> None:
        super().__init__(maxsize, getsizeof, on_evict=on_evict)


class LFUCache(Cache[K, V]):
    """The entry used least often leaves; among equals the one unused for the longest time."""

    __slots__ = ()

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[V], int] | None = None,
        *,
        on_evict: Callable[[K, V, str], object] | None = None,
    ) -> None:
        super().__init__(maxsize, getsizeof, policy="lfu", on_evict=on_evict)


class TinyLFUCache(Cache[K, V]):
    """Keeps what is asked for often *these days* (W-TinyLFU): the best hit ratio where favourites change or scans pass by."""

    __slots__ = ()

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[V], int] | None = None,
        *,
        ttl: float | None = None,
        timer: Callable[[], float] | None = None,
        on_evict: Callable[[K, V, str], object] | None = None,
    ) -> None:
        super().__init__(maxsize, getsizeof, policy="tiny_lfu", ttl=ttl, timer=timer, on_evict=on_evict)


class TTLCache(Cache[K, V]):
    """LRU whose entries live for `ttl` seconds after they were stored; a dead entry is never seen."""

    __slots__ = ()

    def __init__(
        self,
        maxsize: float,
        ttl: float,
        timer: Callable[[], float] | None = None,
        getsizeof: Callable[[V], int] | None = None,
        *,
        on_evict: Callable[[K, V, str], object] | None = None,
    ) -> None:
        super().__init__(maxsize, getsizeof, ttl=ttl, timer=timer, on_evict=on_evict)

    @property
    def timer(self) -> Callable[[], float] | None:
        """The function that tells the time; None for the system's clock."""
        return self._timer


for _kind in (Cache, LRUCache, LFUCache, TinyLFUCache, TTLCache):
    _evenly.quicken(_kind)


class _Values(ValuesView[V]):
    __slots__ = ()
    _mapping: Cache[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs())

    def __contains__(self, value: object) -> bool:
        return any(value is own or value == own for own in self)


class _Items(ItemsView[K, V]):
    __slots__ = ()
    _mapping: Cache[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping._pairs())

    def __contains__(self, item: Any) -> bool:
        key, value = item
        own = self._mapping.peek(key, _NOTHING)
        return own is not _NOTHING and (own is value or own == value)


def _bare(kind: type[Cache[Any, Any]]) -> Cache[Any, Any]:
    return kind.__new__(kind)


_NOTHING: Any = object()
