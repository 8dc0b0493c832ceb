"""`@cached`: remember what a function, a method or a coroutine returned.

>>> from evenly import cached
>>> @cached(maxsize=100, ttl=60)
... def square(x):
...     print("computing")
...     return x * x
>>> square(3), square(3)
computing
(9, 9)
>>> square.cache_info()
CacheInfo(hits=1, misses=1, maxsize=100, currsize=1)
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import weakref
from typing import Any, Callable, NamedTuple, NoReturn

from . import _evenly
from ._flight import Flights, Landings
from .cache import Cache

_NOTHING: Any = object()


class CacheInfo(NamedTuple):
    """What the cache behind a function has done; of all its functions, if it has several."""

    hits: int
    misses: int
    maxsize: Any
    currsize: int


# What cachetools' decorator has besides.
_NEEDLESS = {
    "lock": ": threads may share it as it is, leave it out",
    "condition": ": of many callers at once one computes as it is, leave it out",
    "info": ": cache_info() is always there, leave it out",
}


def cached(
    cache: Any = None,
    *,
    maxsize: float | None = 128,
    ttl: float | None = None,
    policy: str = "lru",
    key: Callable[..., Any] | None = None,
    **elsewhere: NoReturn,
) -> Any:
    """Remembers results: in `cache`, or in one of its own with `maxsize` entries (None: any number) that live for `ttl` s.

    `cache` is any cache of `evenly`, or any mutable mapping. `key(*args, **kwargs)` makes the key; the usual one tells
    apart what `==` tells apart. Functions that share a cache need keys of their own. Of many callers at once, threads or
    tasks of one event loop, one computes and the others get its result; errors are passed on and not remembered.
    The function gets `cache`, `cache_info()`, `cache_clear()`, `cache_key(...)` and `__wrapped__`.
    """
    for name in elsewhere:
        raise TypeError(f"cached() takes no {name}{_NEEDLESS.get(name, '')}")
    if isinstance(cache, type) and hasattr(cache, "__getitem__"):
        raise TypeError(f"cache {cache.__name__} (must be a cache, not its class)")
    if callable(cache) and not hasattr(cache, "__getitem__"):
        return _decorate(cache, Cache(128), None)
    if cache is None:
        cache = Cache(math.inf if maxsize is None else maxsize, policy=policy, ttl=ttl)
    elif not hasattr(cache, "__getitem__") or not hasattr(cache, "get"):
        raise TypeError(f"cache {cache!r} (must be a cache or another mutable mapping)")
    elif maxsize != 128 or ttl is not None or policy != "lru":
        raise ValueError("cached() takes a cache, or maxsize, ttl and policy for one of its own, not both")
    return lambda function: _decorate(function, cache, key)


def _decorate(function: Callable[..., Any], cache: Any, key: Callable[..., Any] | None) -> Any:
    if not callable(function):
        raise TypeError(f"{function!r} is no function that could be cached")
    is_async = inspect.iscoroutinefunction(function)
    if key is None:
        # A store of bytes needs keys that mean the same in every process.
        key_for = getattr(cache, "_key_for", None)
        key = None if key_for is None else key_for(function)
    fast = cache if isinstance(cache, Cache) else None
    make_miss = _async_miss if is_async else _sync_miss
    memo: Any = _evenly.Memo(fast, key, make_miss(function, cache), is_async)
    functools.update_wrapper(memo, function)
    if is_async:
        _mark_as_coroutine_function(memo)
    memo.cache = cache
    memo.cache_clear = cache.clear
    memo.cache_info = functools.partial(_cache_info, cache)
    return memo


def _cache_info(cache: Any) -> CacheInfo:
    if hasattr(cache, "stats"):
        stats = cache.stats()
        return CacheInfo(stats.hits, stats.misses, getattr(cache, "maxsize", None), getattr(stats, "currsize", 0))
    return CacheInfo(0, 0, getattr(cache, "maxsize", None), len(cache))


def _mark_as_coroutine_function(memo: Any) -> None:
    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        mark(memo)
    else:
        memo._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]


def _sync_miss(function: Callable[..., Any], cache: Any) -> Callable[..., Any]:
    flights = Flights()
    # The lookup before this call counted; one of our own caches is asked again without a trace.
    look = cache.peek if isinstance(cache, Cache) else cache.get

    def miss(key: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        def load() -> Any:
            value = function(*args, **(kwargs or {}))
            _keep(cache, key, value)
            return value

        return flights.run(key, lambda: look(key, _NOTHING), load, _NOTHING)

    return miss


def _async_miss(function: Callable[..., Any], cache: Any) -> Callable[..., Any]:
    landings: weakref.WeakKeyDictionary[Any, Landings] = weakref.WeakKeyDictionary()
    aget, aset = getattr(cache, "aget", None), getattr(cache, "aset", None)
    look = cache.peek if isinstance(cache, Cache) else cache.get

    async def miss(key: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        async def load() -> Any:
            value = await function(*args, **(kwargs or {}))
            if aset is None:
                _keep(cache, key, value)
            else:
                await aset(key, value)
            return value

        async def find() -> Any:
            return look(key, _NOTHING) if aget is None else await aget(key, _NOTHING)

        loop = asyncio.get_running_loop()
        landing = landings.get(loop)
        if landing is None:
            landing = landings.setdefault(loop, Landings())
        return await landing.run(key, find, load, _NOTHING)

    return miss


def _keep(cache: Any, key: Any, value: Any) -> None:
    try:
        cache[key] = value
    except ValueError:
        pass  # Too large to keep is not too large to use.
