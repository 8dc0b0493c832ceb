"""Caches on Redis or Valkey, shared by every process with the same namespace, for threads and for asyncio.

    from evenly.redis import RedisCache, TieredCache

    cache = RedisCache("redis://127.0.0.1:6379", namespace="shop", ttl=300)
    cache["user 17"] = {"name": "Ada"}          # and: await cache.aset("user 17", …), await cache.aget("user 17")

A cache must not be the reason that a request fails: while the server is away, reads are misses and writes are dropped, at
once and without waiting (`on_outage="raise"` has an `OutageError` raised instead). So is what another program or another codec
left under a key: a miss, counted as `unreadable`. Keys are `str` or `bytes`.

Codecs: "json" (the usual one), "bytes", "msgpack" (needs the package of that name), and "pickle", which must be asked for:
unpickling runs whatever code the bytes say, so that whoever can write to the server can run code in every process that reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import weakref
from collections.abc import Awaitable, Iterable
from typing import Any, Callable, NamedTuple

from . import _evenly
from ._evenly import OutageError

__all__ = ["CODECS", "OutageError", "RedisCache", "StoreStats", "TieredCache"]

#: The names of all codecs.
CODECS = ("json", "bytes", "msgpack", "pickle")


class StoreStats(NamedTuple):
    """What a store has done so far."""

    near_hits: int
    far_hits: int
    misses: int
    timeouts: int
    disconnects: int
    refused: int
    errors: int
    is_connected: bool
    #: What was there and is no value by the codec: misses of the program, hits of the store.
    unreadable: int = 0

    @property
    def hits(self) -> int:
        """Reads that found a value, near or far."""
        return self.near_hits + self.far_hits


class RedisCache:
    """Values under keys for `ttl` seconds, on the server that `url` names.

    Limits: keys and values as the server's, values of at most `max_value_bytes`; an operation takes at most
    `response_timeout` seconds. Connections begin with the first use; `ready()` waits for them and tells what is wrong.
    """

    #: What its keys on the server begin with.
    namespace: str
    #: How long a value lives, in seconds, unless it is given a time of its own.
    ttl: float
    #: How values become bytes: one of `CODECS`.
    codec: str

    _near: tuple[int, float] | None = None

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        namespace: str = "evenly",
        ttl: float = 300.0,
        codec: str = "json",
        *,
        on_outage: str = "miss",
        response_timeout: float = 0.5,
        connect_timeout: float = 1.0,
        max_value_bytes: int = 8 << 20,
    ) -> None:
        if on_outage not in ("miss", "raise"):
            raise ValueError(f"on_outage {on_outage!r} (must be 'miss' or 'raise')")
        if max_value_bytes < 0:
            raise ValueError(f"max_value_bytes {max_value_bytes} (must be 0 or more)")
        if not ttl > 0:
            raise ValueError(f"ttl {ttl!r} s (must be longer than nothing)")
        arguments = (url, namespace, response_timeout, connect_timeout, max_value_bytes)
        self._open(arguments, ttl, codec, on_outage == "raise")

    def _open(self, arguments: tuple[str, str, float, float, int], ttl: float, codec: str, raises: bool) -> None:
        self._arguments = arguments
        self.namespace, self.ttl, self.codec = arguments[1], ttl, codec
        self._raises = raises
        self._encode, self._decode = _codec(codec)
        self._unreadable = 0
        self._store_or_none: _evenly.Store | None = _evenly.Store(*arguments, self._near)
        _stores.add(self)

    @property
    def _store(self) -> _evenly.Store:
        # After a fork, the child makes connections of its own.
        store = self._store_or_none
        if store is None:
            store = self._store_or_none = _evenly.Store(*self._arguments, self._near)
        return store

    def ready(self) -> None:
        """Waits until the server answers; the error says what is wrong. For a check at the start."""
        self._store.ready()

    def stats(self) -> StoreStats:
        """What has happened so far."""
        return StoreStats(*self._store.stats(), self._unreadable)

    # For threads: the interpreter is released while the server answers.

    def get(self, key: str | bytes, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        return self._read(self._call(None, self._store.get, _key(key)), default)

    def get_many(self, keys: Iterable[str | bytes]) -> dict[str | bytes, Any]:
        """The values of those of `keys` that have one, in one round trip."""
        keys = list(keys)
        return self._read_many(keys, self._call([], self._store.get_many, [_key(key) for key in keys]))

    def insert(self, key: str | bytes, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()) -> None:
        """Keeps a value, with a time to live of its own; it can be forgotten by its tags."""
        self._call(None, self._store.put, *self._entry(key, value, ttl, tags), False)

    def add(self, key: str | bytes, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()) -> bool:
        """Keeps a value unless there is one; of many callers at once, one gets True."""
        return bool(self._call(False, self._store.put, *self._entry(key, value, ttl, tags), True))

    def touch(self, key: str | bytes, ttl: float | None = None) -> bool:
        """Gives what is there a new time to live; False if nothing is."""
        return bool(self._call(False, self._store.touch, _key(key), self.ttl if ttl is None else ttl))

    def delete(self, key: str | bytes) -> bool:
        """Forgets a key; whether there was something."""
        return bool(self._call(False, self._store.delete, _key(key)))

    def delete_by_prefix(self, prefix: str | bytes) -> int:
        """Forgets every key that begins so; how many."""
        return int(self._call(0, self._store.delete_by_prefix, _key(prefix)))

    def delete_by_tag(self, tag: str) -> int:
        """Forgets every key stored with this tag; how many."""
        return int(self._call(0, self._store.delete_by_tag, tag))

    def clear(self) -> int:
        """Forgets everything in this namespace, and nothing else; how many."""
        return int(self._call(0, self._store.clear))

    def __getitem__(self, key: str | bytes) -> Any:
        value = self.get(key, _NOTHING)
        if value is _NOTHING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str | bytes, value: Any) -> None:
        self.insert(key, value)

    #: The keys are not ours alone: there is no walk over them.
    __iter__: None = None

    def __delitem__(self, key: str | bytes) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: str | bytes) -> bool:
        return self.get(key, _NOTHING) is not _NOTHING

    # For asyncio: the same, awaited.

    async def aget(self, key: str | bytes, default: Any = None) -> Any:
        """As `get`."""
        return self._read(await self._acall(None, self._store.get, _key(key)), default)

    async def aget_many(self, keys: Iterable[str | bytes]) -> dict[str | bytes, Any]:
        """As `get_many`."""
        keys = list(keys)
        return self._read_many(keys, await self._acall([], self._store.get_many, [_key(key) for key in keys]))

    async def aset(
        self, key: str | bytes, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """As `insert`."""
        await self._acall(None, self._store.put, *self._entry(key, value, ttl, tags), False)

    async def aadd(
        self, key: str | bytes, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """As `add`."""
        return bool(await self._acall(False, self._store.put, *self._entry(key, value, ttl, tags), True))

    async def adelete(self, key: str | bytes) -> bool:
        """As `delete`."""
        return bool(await self._acall(False, self._store.delete, _key(key)))

    async def adelete_by_tag(self, tag: str) -> int:
        """As `delete_by_tag`."""
        return int(await self._acall(0, self._store.delete_by_tag, tag))

    async def aclear(self) -> int:
        """As `clear`."""
        return int(await self._acall(0, self._store.clear))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(namespace={self.namespace!r}, ttl={self.ttl!r}, codec={self.codec!r})"

    # What both faces share.

    def _call(self, otherwise: Any, operation: Callable[..., Any], *args: Any) -> Any:
        try:
            return operation(*args)
        except OutageError:
            if self._raises:
                raise
            return otherwise

    async def _acall(self, otherwise: Any, operation: Callable[..., Any], *args: Any) -> Any:
        try:
            return await _started(operation, *args)
        except OutageError:
            if self._raises:
                raise
            return otherwise

    def _entry(self, key: str | bytes, value: Any, ttl: float | None, tags: Iterable[str]) -> tuple[Any, ...]:
        return _key(key), self._encode(value), self.ttl if ttl is None else ttl, list(tags)

    def _read(self, found: bytes | None, default: Any) -> Any:
        if found is None:
            return default
        try:
            return self._decode(found)
        except Exception:
            # Written with another codec, or by a program whose classes we do not have: a miss, and the next value replaces it.
            self._unreadable += 1
            return default

    def _read_many(self, keys: list[str | bytes], found: list[bytes | None]) -> dict[str | bytes, Any]:
        values = ((key, self._read(value, _NOTHING)) for key, value in zip(keys, found))
        return {key: value for key, value in values if value is not _NOTHING}

    def _key_for(self, function: Callable[..., Any]) -> Callable[..., str]:
        """Keys for `@cached`: the function's name and its arguments as JSON, the same in every process."""
        name = f"{function.__module__}.{function.__qualname__}"

        def key(*args: Any, **kwargs: Any) -> str:
            try:
                return f"{name}:{json.dumps([args, kwargs], sort_keys=True, separators=(',', ':'))}"
            except TypeError as error:
                raise TypeError(f"arguments of {name} make no key ({error}): pass key= to cached()") from None

        return key


class TieredCache(RedisCache):
    """A near cache of so many bytes in this process, in front of `far`; changes by others are heard of.

        TieredCache(64 << 20, RedisCache("redis://127.0.0.1:6379", namespace="shop", codec="msgpack"))

    Namespace, codec, times and limits are the far cache's. A value stays near for at most `near_ttl` seconds, which bounds
    how old a near hit can be when all else fails.
    """

    def __init__(self, near: int, far: RedisCache, *, near_ttl: float = 60.0) -> None:
        if not isinstance(far, RedisCache) or far._near is not None:
            raise TypeError(f"far {far!r} (must be a RedisCache)")
        if not isinstance(near, int) or near < 0:
            raise ValueError(f"near {near!r} (must be a number of bytes, 0 or more)")
        self._near = (near, near_ttl)
        self._open(far._arguments, far.ttl, far.codec, far._raises)


def _started(operation: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return  # Cancelled meanwhile.
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    operation(*args, done=lambda value, error: loop.call_soon_threadsafe(settle, value, error))
    return future


def _key(key: str | bytes) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"key {key!r} (must be a str or bytes)")


def _codec(name: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    if name == "json":
        return _to_json, json.loads
    if name == "bytes":
        return _to_bytes, bytes
    if name == "msgpack":
        try:
            import msgpack  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("codec 'msgpack' needs a package: pip install msgpack", name="msgpack") from error
        return msgpack.packb, msgpack.unpackb
    if name == "pickle":
        return pickle.dumps, pickle.loads
    raise ValueError(f"unknown codec {name!r} (must be one of {', '.join(CODECS)})")


def _to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"value of type {type(value).__name__} (the codec 'bytes' takes bytes)")


_NOTHING: Any = object()
_stores: weakref.WeakSet[RedisCache] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    _evenly.forget_runtime()
    for cache in _stores:
        cache._store_or_none = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
