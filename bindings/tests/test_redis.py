"""Caches on a real redis-server: values, limits, outages, asyncio, forks and `@cached`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from evenly import cached
from evenly.redis import CODECS, OutageError, RedisCache, TieredCache


@pytest.fixture(params=[RedisCache, TieredCache])
def make(request: pytest.FixtureRequest, server: str) -> Iterator[Any]:
    made = []

    def make(**options: Any) -> Any:
        options = {"namespace": "test", "on_outage": "raise", "response_timeout": 10, **options}
        far = RedisCache(server, **options)
        made.append(far if request.param is RedisCache else TieredCache(1 << 20, far))
        return made[-1]

    yield make
    for cache in made[:1]:
        cache.clear()


def test_a_tiered_cache_takes_after_its_far_one() -> None:
    far = RedisCache("redis://127.0.0.1:1", namespace="shop", ttl=7, codec="bytes")
    near = TieredCache(1 << 20, far, near_ttl=2)
    assert repr(near) == "TieredCache(namespace='shop', ttl=7, codec='bytes')"
    for wrong in (near, "redis://127.0.0.1:6379"):
        with pytest.raises(TypeError, match="must be a RedisCache"):
            TieredCache(1 << 20, wrong)  # type: ignore[arg-type]


def test_values_are_kept_and_forgotten(make: Any) -> None:
    cache = make()
    cache["a"] = {"name": "Ada", "n": [1, 2.5, None, "ü"]}
    assert cache["a"] == cache.get(b"a") == {"name": "Ada", "n": [1, 2.5, None, "ü"]} and "a" in cache
    assert cache.add("b", 2) and not cache.add("b", 3) and cache.get_many(["b", "c"]) == {"b": 2}
    assert cache.touch("b", 10) and not cache.touch("c")
    cache.insert("shoe 1", 1, ttl=60, tags=["shoes"])
    cache.insert("shoe 2", 2, tags=["shoes"])
    assert cache.delete_by_tag("shoes") == 2 and cache.get("shoe 1") is None
    del cache["b"]
    for attempt in (lambda: cache["b"], lambda: cache.__delitem__("b")):
        with pytest.raises(KeyError):
            attempt()
    assert cache.delete_by_prefix("a") == 1 and cache.clear() == 0
    assert cache.stats().hits >= 2 and "test" in repr(cache)


def test_none_is_a_value(make: Any) -> None:
    cache = make()
    cache["none"] = None
    assert "none" in cache and cache["none"] is None and cache.get("none", 5) is None


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_give_back_what_they_took(make: Any, codec: str) -> None:
    cache = make(codec=codec, namespace=f"codec-{codec}")
    value = b"\x00\xff" if codec == "bytes" else [1, "two", {"three": 3.5}]
    cache["x"] = value
    assert cache["x"] == value
    if codec in ("json", "bytes"):
        with pytest.raises(TypeError):
            cache["y"] = object()
    cache.clear()


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
def test_what_the_codec_cannot_read_is_a_miss_and_is_replaced(make: Any, codec: str) -> None:
    make(codec="bytes")["x"] = b"\xc1 no value in any of them"
    cache = make(codec=codec)
    assert "x" not in cache and cache.get("x", 5) == 5 and cache.get_many(["x"]) == {}
    assert asyncio.run(cache.aget("x", 6)) == 6
    assert cache.stats().unreadable == 4
    cache["x"] = [1]
    assert cache["x"] == [1] and cache.stats().unreadable == 4


def test_limits_are_told(make: Any) -> None:
    cache = make(max_value_bytes=100)
    for attempt, message in (
        (lambda: cache.__setitem__("big", "x" * 200), "value of 202 bytes"),
        (lambda: cache.insert("a", 1, ttl=0), "0"),
        (lambda: cache.insert("a", 1, ttl=-1), "ttl -1"),
        (lambda: cache.insert("a", 1, tags=[""]), "tag of 0 bytes"),
        (lambda: make(codec="xml"), "unknown codec 'xml'"),
        (lambda: make(on_outage="hope"), "on_outage 'hope'"),
        (lambda: RedisCache("http://localhost"), "http"),
        (lambda: RedisCache(ttl=0), "ttl 0 s .must be longer"),
        (lambda: RedisCache(max_value_bytes=-1), "max_value_bytes -1"),
        (lambda: TieredCache(-1, RedisCache()), "near -1"),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    with pytest.raises(TypeError, match="key 5"):
        cache.get(5)
    with pytest.raises(TypeError, match="not iterable"):
        iter(cache)


def test_an_outage_is_a_miss_unless_asked_for() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}"
        cache = RedisCache(url)
        cache["a"] = 1
        assert cache.get("a", "missed") == "missed" and not cache.add("a", 1) and cache.get_many(["a"]) == {}
        assert asyncio.run(cache.aget("a", "missed")) == "missed"
        with pytest.raises(OutageError):
            RedisCache(url, on_outage="raise").get("a")
        with pytest.raises(OutageError):
            cache.ready()


def test_a_thread_that_asks_without_pause_sees_the_server_come() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cache = RedisCache(f"redis://127.0.0.1:{port}", codec="bytes", response_timeout=5)
    # Long enough that the calls come from a thread that drives.
    for _ in range(10_000):
        with pytest.raises(OutageError):
            cache.ready()
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                cache.ready()
                break
            except OutageError:
                assert time.monotonic() < deadline
    finally:
        server.kill()
        server.wait()


def test_asyncio_has_the_same(make: Any) -> None:
    cache = make()

    async def main() -> None:
        await cache.aset("a", 1, ttl=60, tags=["t"])
        assert await cache.aget("a") == 1 and await cache.aget("b", 7) == 7
        assert await cache.aadd("b", 2) and await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
        assert await asyncio.gather(*(cache.aget("a") for _ in range(100))) == [1] * 100
        task = asyncio.create_task(cache.aget("a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await cache.adelete("b") and await cache.adelete_by_tag("t") == 1
        with pytest.raises(ValueError, match="ttl"):
            await cache.aset("a", 1, ttl=-1)
        await cache.aclear()

    asyncio.run(main())
    asyncio.run(main())


def test_a_thread_that_drives_and_those_who_rely_on_the_keeper_take_turns(make: Any, server: str) -> None:
    cache, other = make(), make()
    cache["a"] = 1

    def call_again_and_again(times: int = 100) -> None:
        for _ in range(times):
            assert other.add("a", 2) is False  # a round trip in a tiered cache, too

    async def all_at_once() -> list[int]:
        return await asyncio.wait_for(asyncio.gather(*(cache.aget("a") for _ in range(20))), 20)

    for _ in range(20):  # by turns
        call_again_and_again()
        assert asyncio.run(all_at_once()) == [1] * 20

    with ThreadPoolExecutor(4) as threads:  # all at once
        running = [threads.submit(call_again_and_again, 1000) for _ in range(3)]
        while not all(one.done() for one in running):
            assert asyncio.run(all_at_once()) == [1] * 20
        for one in running:
            one.result(20)

    # Near hits drive nothing, so of what somebody else does the keeper must hear.
    call_again_and_again(1000)
    assert cache["a"] == 1
    with socket.create_connection((urlsplit(server).hostname, urlsplit(server).port)) as somebody:
        somebody.sendall(b"FLUSHALL\r\n")
        assert somebody.recv(5) == b"+OK\r\n"
    deadline = time.monotonic() + 20
    while cache.get("a") == 1:
        assert time.monotonic() < deadline, "nobody drove"


def test_decorated_functions_share_results(make: Any) -> None:
    calls = []

    def decorate() -> Any:
        @cached(make(namespace="memo"))
        def square(x: int, *, offset: int = 0) -> int:
            calls.append(x)
            return x * x + offset

        return square

    first, second = decorate(), decorate()  # as two processes would
    assert first(3, offset=1) == second(3, offset=1) == 10 and calls == [3]
    assert first.cache_key(3).endswith("square:[[3],{}]")
    with pytest.raises(TypeError, match="pass key="):
        first(object())
    first.cache_clear()

    @cached(make(namespace="memo"))
    async def cube(x: int) -> int:
        calls.append(x)
        return x**3

    async def main() -> list[int]:
        return [*await asyncio.gather(cube(2), cube(2)), await cube(2)]

    assert asyncio.run(main()) == [8, 8, 8] and calls == [3, 2]
    cube.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(make: Any) -> None:
    cache = make()
    cache["from"] = "parent"
    for _ in range(100):  # and by then this thread drives
        cache.touch("from")
    child = os.fork()
    if child == 0:
        try:
            cache["back"] = cache["from"] + "'s child"
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache["back"] == "parent's child"
