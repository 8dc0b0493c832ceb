"""How fast is the Python package, beside its rivals, in one sitting?

    bindings/speed.py                     # ns: the median of rounds in which all take turns
    bindings/speed.py --instructions      # instructions by valgrind's cachegrind: the figure that noise does not touch
    bindings/speed.py --only get,ring     # some of the tables

Makes `.venv-speed` of /usr/bin/python3.11 (Debian's, optimised; an unoptimised build flatters compiled code), with the rivals
and a release wheel of the package (`maturin build --profile wheel`, or EVENLY_WHEEL=path). Every statement is the body of one
`for` loop over prepared keys; the loop itself is measured too and subtracted.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-speed"
RIVALS = [
    "async_lru", "cachebox==6.2.*", "cachetools==8.0.1", "moka-py", "redis", "roundrobin", "theine", "uhashring==2.5",
]

KEYS = "keys = ['key-%d' % n for n in range(1000)] * (N // 1000)\n"
FILLED = "for key in keys[:1000]: c[key] = key\n"
SQUARE = "def square(x): return x * x\n"
NODES = "nodes = ['10.0.%d.%d:11211' % (n // 250, n % 250) for n in range(1000)]\n"

#: table → {label: (setup, body of the loop over `key`)}
TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "get": {
        "evenly LRUCache.get": ("from evenly.cache import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c.get(key)"),
        "evenly TTLCache.get": ("from evenly.cache import TTLCache\nc = TTLCache(2000, 600)\n" + FILLED, "c.get(key)"),
        "cachebox LRUCache.get": ("from cachebox import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c.get(key)"),
        "cachebox TTLCache.get": ("from cachebox import TTLCache\nc = TTLCache(2000, 600)\n" + FILLED, "c.get(key)"),
        "cachetools LRUCache.get": ("from cachetools import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c.get(key)"),
        "dict.get": ("c = {}\n" + FILLED, "c.get(key)"),
    },
    "subscript": {
        "evenly LRUCache[]": ("from evenly.cache import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key]"),
        "cachebox LRUCache[]": ("from cachebox import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key]"),
        "dict[]": ("c = {}\n" + FILLED, "c[key]"),
    },
    "evict": {
        "evenly insert + evict": ("from evenly.cache import LRUCache\nc = LRUCache(500)\n" + FILLED, "c[key] = key"),
        "cachebox insert + evict": ("from cachebox import LRUCache\nc = LRUCache(500)\n" + FILLED, "c[key] = key"),
        "cachetools insert + evict": ("from cachetools import LRUCache\nc = LRUCache(500)\n" + FILLED, "c[key] = key"),
    },
    "cached": {
        "evenly @cached(ttl=600)": (
            "from evenly import cached\n" + SQUARE + "f = cached(maxsize=2000, ttl=600)(square)\nf(7)\n", "f(7)"),
        "functools.lru_cache": ("from functools import lru_cache\n" + SQUARE + "f = lru_cache(2000)(square)\nf(7)\n", "f(7)"),
        "cachebox @cached": (
            "import cachebox\n" + SQUARE + "f = cachebox.cached(cachebox.TTLCache(2000, 600))(square)\nf(7)\n", "f(7)"),
        "cachetools @cached": (
            "import cachetools\n" + SQUARE + "f = cachetools.cached(cachetools.TTLCache(2000, 600))(square)\nf(7)\n", "f(7)"),
        "moka-py @cached": ("import moka_py\n" + SQUARE + "f = moka_py.cached(maxsize=2000, ttl=600)(square)\nf(7)\n", "f(7)"),
    },
    "ring": {
        "evenly Ring[]": (NODES + "from evenly.balancers import Ring\nc = Ring(nodes)\n", "c[key]"),
        "evenly Ketama[]": (NODES + "from evenly.balancers import Ketama\nc = Ketama(nodes)\n", "c[key]"),
        "evenly HashRing ketama": (
            NODES + "from evenly.balancers import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c.get_node(key)"),
        "uhashring ketama": (
            NODES + "from uhashring import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c.get_node(key)"),
    },
    "pick": {
        "evenly round_robin": (
            "from evenly.balancers import Pool\nc = Pool(['%d' % n for n in range(10)], 'round_robin')\n", "c.pick().member"),
        "evenly p2c + release": ("from evenly.balancers import Pool\nc = Pool(['%d' % n for n in range(10)])\n", "c.pick()"),
        "roundrobin smooth": (
            "import roundrobin\nc = roundrobin.smooth([('%d' % n, 1) for n in range(10)])\n", "c()"),
    },
    "batch": {
        "evenly Ring.assign, 10,000 keys": (
            NODES + "from evenly.balancers import Ring\nc = Ring(nodes)\nmany = keys[:1000] * 10\n",
            "if key == 'key-0': c.assign(many)"),
        "uhashring, 10,000 keys": (
            NODES + "from uhashring import HashRing\nc = HashRing(nodes, hash_fn='ketama')\nmany = keys[:1000] * 10\n",
            "if key == 'key-0': [c.get_node(one) for one in many]"),
    },
}

#: Rows that no loop over keys shows: label → a program that prints JSON, {what: number}.
PROGRAMS: dict[str, str] = {
    "build": """
        nodes = ['10.0.%d.%d:11211' % (n // 250, n % 250) for n in range(1000)]
        from evenly.balancers import Ring, Ketama, HashRing
        from uhashring import HashRing as Theirs
        show('evenly Ring, 1000 x 160, ms', lambda: Ring(nodes), 1e3)
        show('evenly Ketama, 1000 x 160, ms', lambda: Ketama(nodes), 1e3)
        show('evenly HashRing ketama, ms', lambda: HashRing(nodes, hash_fn='ketama'), 1e3)
        show('uhashring ketama, ms', lambda: Theirs(nodes, hash_fn='ketama'), 1e3, 3)
    """,
    "async": """
        import asyncio, async_lru, moka_py, evenly
        async def square(x): return x * x
        async def hits(f):
            await f(7)
            for _ in range(100_000): await f(7)
        for label, wrap in {
            'evenly @cached': evenly.cached(maxsize=2000, ttl=600),
            'moka-py @cached': moka_py.cached(maxsize=2000, ttl=600),
            'async_lru': async_lru.alru_cache(maxsize=2000, ttl=600),
        }.items():
            show(label + ', ns a hit', lambda: asyncio.run(hits(wrap(square))), 1e4)
    """,
    "redis": """
        import socket, subprocess, threading, redis
        from evenly.redis import RedisCache, OutageError
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0)); port = probe.getsockname()[1]
        server = subprocess.Popen(['redis-server', '--port', str(port), '--save', '', '--bind', '127.0.0.1'], stdout=subprocess.DEVNULL)
        try:
            url = 'redis://127.0.0.1:%d' % port
            ours, theirs = RedisCache(url, codec='bytes', response_timeout=5), redis.Redis.from_url(url)
            deadline = time.monotonic() + 20
            while True:
                try:
                    ours.ready(); break
                except OutageError:
                    assert time.monotonic() < deadline
            ours['k'] = b'v' * 100; theirs.set('k', b'v' * 100)
            def run(get, threads, each=4000):
                def work():
                    for _ in range(each): get('k')
                all = [threading.Thread(target=work) for _ in range(threads)]
                [one.start() for one in all]; [one.join() for one in all]
            for threads in (1, 4):
                show('evenly get, %d threads, us' % threads, lambda: run(ours.get, threads), 1e6 / 4000 / threads)
                show('redis-py get, %d threads, us' % threads, lambda: run(theirs.get, threads), 1e6 / 4000 / threads)
        finally:
            server.terminate(); server.wait()
    """,
    "ratio": """
        import bisect, itertools, random
        from evenly.cache import TinyLFUCache, Cache
        from theine import Cache as Theine
        rng = random.Random(1)
        sums = list(itertools.accumulate(1 / n ** 0.9 for n in range(1, 100_001)))
        trace = ['%d' % bisect.bisect(sums, rng.random() * sums[-1]) for _ in range(400_000)]
        def ours(cache):
            hits = 0
            for key in trace:
                if cache.get(key) is None: cache[key] = key
                else: hits += 1
            return hits
        def theirs(cache):
            hits = 0
            for key in trace:
                found, ok = cache.get(key)
                if ok: hits += 1
                else: cache.set(key, key)
            return hits
        for label, play, make in (
            ('evenly TinyLFUCache', ours, lambda: TinyLFUCache(1000)),
            ('evenly Cache auto', ours, lambda: Cache(1000, policy='auto')),
            ('theine', theirs, lambda: Theine(1000)),
        ):
            told[label + ', hit ratio %'] = [play(make()) / len(trace) * 100]
            show(label + ', ns an access', lambda: play(make()), 1e9 / len(trace), 3)
    """,
}


def loop(setup: str, body: str, rounds: int) -> str:
    return f"N = {rounds}\n{KEYS}{setup}\ndef run(keys=keys):\n    for key in keys:\n        {body}\n"


def python() -> str:
    binary = VENV / "bin" / "python"
    if not binary.exists():
        subprocess.run(["/usr/bin/python3.11", "-m", "venv", str(VENV)], check=True)
        pip = [str(binary), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *RIVALS], check=True)
        wheel = os.environ.get("EVENLY_WHEEL")
        subprocess.run([*pip, wheel or str(ROOT / "bindings")], check=True)
    return str(binary)


def nanoseconds(cases: dict[str, tuple[str, str]]) -> dict[str, tuple[float, float, float]]:
    rounds, code = 100_000, ["import time, json", "runs = {}"]
    for label, (setup, body) in {"": ("", "pass"), **cases}.items():
        code += [f"scope = {{}}; exec({loop(setup, body, rounds)!r}, scope); runs[{label!r}] = scope['run']"]
    code += [
        "times = {label: [] for label in runs}",
        "for _ in range(15):",
        "    for label, run in runs.items():",
        f"        begin = time.perf_counter(); run(); times[label].append((time.perf_counter() - begin) * 1e9 / {rounds})",
        "print(json.dumps(times))",
    ]
    told = subprocess.run([python(), "-c", "\n".join(code)], check=True, capture_output=True, text=True)
    import json

    times = json.loads(told.stdout)
    empty = statistics.median(times.pop(""))
    return {
        label: (statistics.median(row) - empty, min(row) - empty, max(row) - empty) for label, row in times.items()
    }


def instructions(setup: str, body: str) -> float:
    def count(body: str, rounds: int) -> int:
        script = loop(setup, body, rounds) + "run()\n"
        told = subprocess.run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", python(), "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "1"},
        )
        line = next(line for line in told.stderr.splitlines() if "I refs" in line or "I   refs" in line)
        return int(line.split(":")[1].strip().replace(",", ""))

    few, many = 10_000, 60_000
    return ((count(body, many) - count(body, few)) - (count("pass", many) - count("pass", few))) / (many - few)


def program(body: str) -> dict[str, list[float]]:
    import json
    import textwrap

    head = (
        "import json, time\ntold = {}\n"
        "def show(label, run, scale, rounds=9):\n"
        "    for _ in range(rounds):\n"
        "        begin = time.perf_counter(); run(); end = time.perf_counter()\n"
        "        told.setdefault(label, []).append((end - begin) * scale)\n"
    )
    code = head + textwrap.dedent(body) + "\nprint(json.dumps(told))"
    done = subprocess.run([python(), "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--only", default=",".join([*TABLES, *PROGRAMS]))
    options = parser.parse_args()
    for table in options.only.split(","):
        print(f"\n{table}")
        if table in PROGRAMS:
            for label, values in program(PROGRAMS[table]).items():
                print(f"  {label:34} {statistics.median(values):10,.1f}   ({min(values):,.1f} to {max(values):,.1f})", flush=True)
        elif options.instructions:
            for label, (setup, body) in TABLES[table].items():
                print(f"  {label:32} {instructions(setup, body):10,.0f} instructions", flush=True)
        else:
            for label, (median, low, high) in nanoseconds(TABLES[table]).items():
                print(f"  {label:32} {median:10,.1f} ns   ({low:,.1f} to {high:,.1f})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
