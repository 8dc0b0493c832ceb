"""Single flight: of many who ask for the same key at once, one computes and the others wait for it.

A computation that asks for its own key would wait for itself: that is told at once (`RecursionError`), in threads and in
tasks alike. An error goes to all who wait. A computation that is interrupted or cancelled hands its place to one that
waits; nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any, Callable


class Flights:
    """The computations under way in threads, by key."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[Any, _Flight] = {}

    def run(self, key: Any, look: Callable[[], Any], load: Callable[[], Any], nothing: Any) -> Any:
        """What `look()` finds, or the result of `load()`, run by one thread for all."""
        while True:
            own = _Flight()
            flight = self._under_way.setdefault(key, own)
            if flight is own:
                return self._lead(key, own, look, load, nothing)
            if flight.thread == threading.get_ident() and not flight.done.is_set():
                raise _asks_itself(key)
            flight.done.wait()
            if flight.error is None:
                return flight.value
            if isinstance(flight.error, Exception):
                raise flight.error
            # Interrupted: one of those who waited takes over.

    def _lead(self, key: Any, own: _Flight, look: Callable[[], Any], load: Callable[[], Any], nothing: Any) -> Any:
        try:
            # Another may have finished between our lookup and our start.
            found = look()
            own.value = load() if found is nothing else found
        except BaseException as error:
            own.error = error
            raise
        finally:
            self._under_way.pop(key, None)
            own.done.set()
        return own.value


class _Flight:
    __slots__ = ("done", "error", "thread", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.get_ident()
        self.value: Any = None


class Landings:
    """The computations under way in one event loop, by key."""

    __slots__ = ("__weakref__", "_under_way")

    def __init__(self) -> None:
        self._under_way: dict[Any, tuple[asyncio.Future[Any], asyncio.Task[Any] | None]] = {}

    async def run(
        self, key: Any, look: Callable[[], Awaitable[Any]], load: Callable[[], Awaitable[Any]], nothing: Any
    ) -> Any:
        """What `look()` finds, or the result of `load()`, run by one task for all."""
        task = asyncio.current_task()
        while True:
            own: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future, leader = self._under_way.setdefault(key, (own, task))
            if future is own:
                return await self._lead(key, own, look, load, nothing)
            if leader is task:
                raise _asks_itself(key)
            # Not awaited itself: cancelling one that waits must not cancel the others.
            await asyncio.wait([future])
            if not future.cancelled():
                return future.result()
            # The leader was cancelled: one of those who waited takes over.

    async def _lead(
        self,
        key: Any,
        own: asyncio.Future[Any],
        look: Callable[[], Awaitable[Any]],
        load: Callable[[], Awaitable[Any]],
        nothing: Any,
    ) -> Any:
        try:
            # Another may have finished between our lookup and our start.
            found = await look()
            value = await load() if found is nothing else found
        except Exception as error:
            own.set_exception(error)
            own.exception()  # Seen: our caller gets it, whether anyone else waits or not.
            raise
        except BaseException:
            own.cancel()
            raise
        else:
            own.set_result(value)
            return value
        finally:
            self._under_way.pop(key, None)


def _asks_itself(key: Any) -> RecursionError:
    return RecursionError(f"computing the value of {key!r} asks for the value of {key!r}")
