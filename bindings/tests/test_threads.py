"""Threads use everything at once, while members come and go and garbage is collected. The sharpest where there is no GIL."""

from __future__ import annotations

import gc
import random
from typing import Any

from evenly import cached
from evenly.balancers import BoundedRing, HashRing, Pool, Ring
from evenly.cache import Cache, LFUCache, LRUCache, TinyLFUCache, TTLCache

ROUNDS = 3000


class Odd:
    """A key whose comparison is Python code, with few different hashes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.number == self.number


def test_eight_threads_use_everything_at_once(eight_at_once: Any) -> None:
    caches: list[Any] = [
        LRUCache(50),
        TTLCache(50, 0.002),
        LFUCache(50),
        TinyLFUCache(50),
        Cache(50, policy="auto"),
        LRUCache(500, getsizeof=lambda value: 1 + value % 9),
        LRUCache(40, on_evict=lambda key, value, cause: None),
    ]
    ring, bounded, face, pool = Ring(["a", "b", "c"]), BoundedRing(["a", "b"]), HashRing(["a", "b"]), Pool(["a", "b"])

    @cached(maxsize=30, ttl=0.01)
    def double(number: int, more: int = 0) -> int:
        return number * 2 + more

    def use_cache(cache: Any, number: int, chance: random.Random) -> None:
        key = chance.choice([number, str(number), (number, "x"), number + 0.5, Odd(number), b"%d" % number])
        use = chance.randrange(8)
        if use < 2:
            cache[key] = number
        elif use == 2:
            cache.pop(key, None)
        elif use == 3:
            assert cache.setdefault(key, number) == number
        elif use == 4:
            assert cache.get_or_insert(key, lambda: number) == number
        else:
            assert cache.get(key) in (None, number) and len(cache) <= cache.maxsize

    def change(n: int) -> None:
        ring.remove("d") if "d" in ring else ring.add("d")
        face.remove_node("c") if "c" in face.nodes else face.add_node("c")
        pool.set_up("a", n % 200 == 0)
        pool.add(f"extra-{n}")
        pool.remove(f"extra-{n}")
        caches[n % 5].resize(40 + n % 20)
        gc.collect()

    def work(thread: int) -> None:
        chance = random.Random(thread)
        for n in range(ROUNDS):
            number = chance.randrange(120)
            use_cache(caches[n % len(caches)], number, chance)
            assert double(number) == 2 * number and double(number, more=1) == 2 * number + 1
            assert ring[str(number)] in ("a", "b", "c", "d") and face.get_node(number) in ("a", "b", "c")
            with pool.pick() as lease:
                assert lease.member in ("a", "b") or lease.member.startswith("extra")
            if n % 100 == 0:
                ring.assign(["key"] * 50), bounded.assign(["key"] * 50)
                [list(cache.items()) for cache in caches], [cache.stats() for cache in caches]
                if thread == 0:
                    change(n)

    eight_at_once(work)
    for cache in caches:
        cache._validate()
    assert sum(row.in_flight for row in pool.stats()) == 0
