"""What all tests share."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import hypothesis
import pytest

from evenly.redis import OutageError, RedisCache

# `PROPTEST_CASES` raises the number of cases here as it does in Rust.
hypothesis.settings.register_profile(
    "evenly", max_examples=int(os.environ.get("PROPTEST_CASES", "50")), deadline=None, stateful_step_count=60
)
hypothesis.settings.load_profile("evenly")


class ManualTimer:
    """Time in seconds that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> ManualTimer:
    return ManualTimer()


@pytest.fixture
def departed() -> tuple[list[Any], Callable[[Any, Any, str], None]]:
    """A list, and a listener that fills it."""
    heard: list[Any] = []
    return heard, lambda key, value, cause: heard.append((key, value, cause))


@pytest.fixture
def within() -> Callable[[float, Callable[[], Any]], Any]:
    """The result of work that must not hang; what hangs with the interpreter held is ended by `faulthandler_timeout`."""

    def result_of(seconds: float, work: Callable[[], Any]) -> Any:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
        thread.start()
        thread.join(seconds)
        assert results, f"no answer within {seconds} s"
        return results[0]

    return result_of


@pytest.fixture
def eight_at_once() -> Callable[[Callable[[int], None]], None]:
    """Calls what it is given in eight threads, with 0 to 7, which change as often as the interpreter can; none may fail."""

    def call(work: Callable[[int], None]) -> None:
        failures: list[BaseException] = []

        def caught(thread: int) -> None:
            try:
                work(thread)
            except BaseException as failure:  # noqa: BLE001 - a thread's failure must reach the test
                failures.append(failure)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=caught, args=(thread,)) for thread in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert not failures, failures[0]

    return call


def free_port() -> int:
    """A port from below the range out of which the kernel serves others, so that it is still free when it is used."""
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a real redis-server."""
    binary = shutil.which("redis-server")
    assert binary, "please install redis-server"
    port = free_port()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while True:
        try:
            RedisCache(url).ready()
            break
        except OutageError:
            assert time.monotonic() < deadline, "redis-server did not answer within 20 s"
    yield url
    process.terminate()
    process.wait(20)
