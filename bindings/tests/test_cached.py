"""`@cached`: functions, methods and coroutines, one computation for many callers."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import threading
import weakref
from typing import Any

import pytest

from evenly import cached
from evenly.cache import LRUCache, TTLCache


def counting() -> Any:
    """A function that notes its calls."""

    def function(*args: Any, **kwargs: Any) -> Any:
        function.calls.append((args, kwargs))  # type: ignore[attr-defined]
        return len(function.calls)  # type: ignore[attr-defined]

    function.calls = []  # type: ignore[attr-defined]
    return function


def test_computes_once_for_equal_arguments() -> None:
    f = cached(maxsize=10)(counting())
    assert f(1) == f(1) == f(1.0) == 1, "equal arguments are the same call"
    assert f("1") == 2 and f((1,)) == 3 and f(1, 1) == 4 and f() == 5 and f(()) == 6
    assert f(1, a=2, b=3) == f(1, b=3, a=2) == 7
    assert f(1, "a", 2, "b", 3) == 8 and f(a=1) == 9
    assert f.cache_info() == (3, 9, 10, 9)
    f.cache_clear()
    assert f(1) == 10


def test_bare_decorator_and_none_results() -> None:
    calls = []

    @cached
    def nothing(x: int) -> None:
        """Does nothing."""
        calls.append(x)

    assert nothing(1) is nothing(1) is None and calls == [1]
    assert nothing.__name__ == "nothing" and nothing.__doc__ == "Does nothing."
    assert nothing.__wrapped__ is inspect.unwrap(nothing) and "nothing" in repr(nothing)
    assert nothing.cache_info().maxsize == 128


def test_uses_the_cache_it_is_given_by_the_key_it_is_told() -> None:
    cache: Any = TTLCache(10, 60)
    f = cached(cache, key=lambda name, *, loud=False: name.lower())(lambda name, *, loud=False: (name, loud))
    assert f("A", loud=True) == f("a") == ("A", True)
    assert dict(cache) == {"a": ("A", True)} and f.cache is cache and f.cache_key("Bc") == "bc"
    plain: dict[Any, Any] = {}
    g = cached(plain)(counting())
    assert g(1) == g(1) == 1 and plain == {1: 1} and g.cache_info() == (0, 0, None, 1)
    with pytest.raises(ValueError, match="not both"):
        cached(cache, maxsize=3)


@pytest.mark.parametrize("options", [{"maxsize": -1}, {"ttl": 0}, {"policy": "best"}])
def test_impossible_options_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        cached(**options)


def test_what_is_no_cache_and_what_is_no_function_is_refused() -> None:
    for attempt in (lambda: cached(3), lambda: cached(TTLCache), lambda: cached()(3), lambda: cached(maxsize="many")):
        with pytest.raises(TypeError):
            attempt()


@pytest.mark.parametrize("option", ["lock", "condition", "info"])
def test_who_comes_from_cachetools_is_told_what_to_leave_out(option: str) -> None:
    options: Any = {option: object()}
    with pytest.raises(TypeError, match=f"no {option}: .* leave it out"):
        cached(TTLCache(10, 5), **options)
    misspelt: Any = {"loc": 1}
    with pytest.raises(TypeError, match=r"no loc$"):
        cached(**misspelt)


def test_time_to_live_ends(timer: Any) -> None:
    f = cached(TTLCache(10, 5, timer))(counting())
    assert f(1) == f(1) == 1
    timer.now = 5
    assert f(1) == 2


def test_errors_are_passed_on_and_not_remembered() -> None:
    f = cached(maxsize=2)(lambda x: 1 / x)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            f(0)
    with pytest.raises(TypeError, match="unhashable"):
        f([])
    assert len(f.cache) == 0


def test_what_is_too_large_to_keep_is_still_returned() -> None:
    f = cached(LRUCache(3, len))(lambda n: "x" * n)
    assert f(5) == "xxxxx" and len(f.cache) == 0


class Shop:
    def __init__(self, name: str) -> None:
        self.name, self.calls = name, 0

    @cached(maxsize=10)
    def price(self, item: str, *, pieces: int = 1) -> str:
        self.calls += 1
        return f"{self.name} {item} {pieces}"

    @staticmethod
    @cached(maxsize=10)
    def currency(country: str) -> str:
        return country.upper()

    @classmethod
    @cached(maxsize=10)
    def kind(cls) -> str:
        return cls.__name__


def test_methods_keep_instances_apart() -> None:
    a, b = Shop("a"), Shop("b")
    assert a.price("tea") == a.price("tea") == "a tea 1" and b.price("tea") == "b tea 1"
    assert a.price("tea", pieces=2) == "a tea 2" and (a.calls, b.calls) == (2, 1)
    assert Shop.currency("de") == "DE" and a.currency("de") == "DE" and Shop.kind() == a.kind() == "Shop"
    assert Shop.price.cache_info().currsize == 3
    assert pickle.loads(pickle.dumps(Shop.price)) is Shop.price


def test_stacks_with_other_decorators() -> None:
    f = cached(maxsize=1)(functools.lru_cache(maxsize=10)(counting()))
    assert (f(1), f(2), f(1)) == (1, 2, 1)


def test_recursion_works_and_endless_recursion_is_told() -> None:
    @cached(maxsize=None)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(100) == 354224848179261915075

    @cached
    def itself(n: int) -> int:
        return itself(n)

    with pytest.raises(RecursionError, match="the value of 1 asks for the value of 1"):  # cachebox deadlocks
        itself(1)


def test_threads_share_one_computation() -> None:
    gate, calls, results = threading.Event(), [], []

    @cached(maxsize=10)
    def slow(x: int) -> int:
        calls.append(x)
        gate.wait(20)
        return x + 1

    threads = [threading.Thread(target=lambda: results.append(slow(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not calls:
        pass
    gate.set()
    for thread in threads:
        thread.join()
    assert calls == [1] and results == [2] * 8


def test_threads_share_one_error() -> None:
    gate, calls, errors = threading.Event(), [], []

    @cached(maxsize=10)
    def failing(x: int) -> int:
        calls.append(x)
        gate.wait(20)
        raise ValueError("no")

    def call() -> None:
        try:
            failing(1)
        except ValueError as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not calls:
        pass
    gate.set()
    for thread in threads:
        thread.join()
    # A thread that came after the failure has tried for itself.
    assert len(errors) == 4 and 1 <= len(calls) <= 4


def test_get_or_insert_computes_once() -> None:
    cache: Any = LRUCache(10)
    calls = []

    def make() -> int:
        calls.append(1)
        return 5

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(cache.get_or_insert("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5] * 8 and calls == [1]
    assert LRUCache(1, len).get_or_insert("big", lambda: "xxx") == "xxx"


def test_coroutines_share_one_computation() -> None:
    calls = []

    @cached(maxsize=10, ttl=60)
    async def slow(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return x + 1

    async def main() -> None:
        assert await asyncio.gather(*(slow(1) for _ in range(8))) == [2] * 8
        assert await slow(1) == 2 and await asyncio.create_task(slow(1)) == 2
        assert await asyncio.wait_for(slow(1), 1) == 2
        ready = slow(1)
        assert await ready == 2
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await ready

    assert inspect.iscoroutinefunction(slow) or asyncio.iscoroutinefunction(slow)
    asyncio.run(main())
    asyncio.run(main())
    assert calls == [1]


def test_a_cancelled_leader_hands_over() -> None:
    calls = []

    async def main() -> None:
        started = asyncio.Event()

        @cached
        async def slow(x: int) -> int:
            calls.append(x)
            started.set()
            if len(calls) == 1:
                await asyncio.Event().wait()
            return x

        leader = asyncio.create_task(slow(1))
        await started.wait()
        waiters = [asyncio.create_task(slow(1)) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        leader.cancel()
        assert await asyncio.gather(*waiters[1:]) == [1, 1]
        with pytest.raises(asyncio.CancelledError):
            await leader

    asyncio.run(main())
    assert calls == [1, 1]


def test_failing_and_endless_coroutines_are_told() -> None:
    @cached
    async def failing() -> None:
        raise ZeroDivisionError

    @cached
    async def itself(n: int) -> Any:
        return await itself(n)

    async def main() -> None:
        answers = await asyncio.gather(*(failing() for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3
        with pytest.raises(RecursionError, match="the value of 1 asks"):
            await itself(1)

    asyncio.run(main())


def test_a_decorated_function_is_collected() -> None:
    class Owner:
        pass

    owner = Owner()

    @cached
    def function(x: int) -> Any:
        return owner

    owner.function = function  # type: ignore[attr-defined]
    assert function(1) is owner
    gone = weakref.ref(owner)
    del owner, function
    gc.collect()
    assert gone() is None
