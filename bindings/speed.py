#!/usr/bin/env python3
"""How fast is the Python package, beside its rivals, in one sitting?

    bindings/speed.py                       # everything, then the goals and whether they are met: a quarter of an hour
    bindings/speed.py --only get,ring       # some of the tables
    bindings/speed.py --time                # no instructions: what wants a quiet machine, and is quick on one

Makes `.venv-speed` anew of /usr/bin/python3.11 (Debian's, optimised; an unoptimised build flatters compiled code), with the
rivals and a wheel of the package as it stands, in the profile that is published (EVENLY_WHEEL=path for one that is there).
Every statement is the body of one `for` loop over prepared keys; the loop itself is measured too and subtracted. Nanoseconds
are the median of rounds in which all of a table take turns; instructions are by valgrind's cachegrind, the figure that noise
does not touch. What was seen goes to target/bench/python.json, with commit, machine and command.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-speed"
PYTHON = str(VENV / "bin" / "python")
#: label → median, smallest, largest
Rows = dict[str, tuple[float, float, float]]
RIVALS = [
    "async_lru", "cachebox==6.2.*", "cachetools==8.0.1", "moka-py", "redis", "roundrobin", "theine", "uhashring==2.5",
]

KEYS = "keys = ['key-%d' % n for n in range(1000)] * (N // 1000)\n"
FILLED = "for key in keys[:1000]: c[key] = key\n"
OTHERS = "keys = [key[:3] + key[3:] for key in keys]\n"
SQUARE = "def square(x): return x * x\n"
NODES = "nodes = ['10.0.%d.%d:11211' % (n // 250, n % 250) for n in range(MEMBERS)]\n"

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
    "equal": {
        "evenly LRUCache.get, another str": (
            "from evenly.cache import LRUCache\nc = LRUCache(2000)\n" + FILLED + OTHERS, "c.get(key)"),
        "cachebox LRUCache.get, another str": (
            "from cachebox import LRUCache\nc = LRUCache(2000)\n" + FILLED + OTHERS, "c.get(key)"),
    },
    "subscript": {
        "evenly LRUCache[]": ("from evenly.cache import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key]"),
        "cachebox LRUCache[]": ("from cachebox import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key]"),
        "dict[]": ("c = {}\n" + FILLED, "c[key]"),
    },
    "miss": {
        "evenly LRUCache.get, miss": ("from evenly.cache import LRUCache\nc = LRUCache(2000)\n", "c.get(key)"),
        "cachebox LRUCache.get, miss": ("from cachebox import LRUCache\nc = LRUCache(2000)\n", "c.get(key)"),
    },
    "overwrite": {
        "evenly overwrite": ("from evenly.cache import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key] = key"),
        "cachebox overwrite": ("from cachebox import LRUCache\nc = LRUCache(2000)\n" + FILLED, "c[key] = key"),
        "dict overwrite": ("c = {}\n" + FILLED, "c[key] = key"),
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
        "evenly HashRing.get_node": (
            NODES + "from evenly.balancers import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c.get_node(key)"),
        "evenly HashRing[]": (
            NODES + "from evenly.balancers import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c[key]"),
        "uhashring get_node": (
            NODES + "from uhashring import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c.get_node(key)"),
        "uhashring []": (
            NODES + "from uhashring import HashRing\nc = HashRing(nodes, hash_fn='ketama')\n", "c[key]"),
    },
    "pick": {
        "evenly round_robin": (
            "from evenly.balancers import Pool\nc = Pool(['%d' % n for n in range(10)], 'round_robin')\n", "c.pick().member"),
        "evenly p2c + release": ("from evenly.balancers import Pool\nc = Pool(['%d' % n for n in range(10)])\n", "c.pick()"),
        "roundrobin smooth": (
            "import roundrobin\nc = roundrobin.smooth([('%d' % n, 1) for n in range(10)])\n", "c()"),
        "P2C by hand": (
            "import random\nnames, load = ['%d' % n for n in range(10)], [0] * 10\n"
            "def c():\n    a, b = random.randrange(10), random.randrange(10)\n    best = a if load[a] <= load[b] else b\n"
            "    load[best] += 1\n    load[best] -= 1\n    return names[best]\n", "c()"),
    },
}

#: Tables that no loop over keys shows: a program that tells each row (HEAD, below).
PROGRAMS: dict[str, str] = {
    "batch": """
        from evenly.balancers import Ring
        from uhashring import HashRing
        nodes = ['10.0.%d.%d:11211' % (n // 250, n % 250) for n in range(1000)]
        many = ['key-%d' % n for n in range(10_000)]
        ours, theirs = Ring(nodes), HashRing(nodes, hash_fn='ketama')
        turns({
            'evenly Ring.assign, 10,000 keys, ms': lambda: ours.assign(many),
            'uhashring, 10,000 keys, ms': lambda: [theirs.get_node(key) for key in many],
        }, 1e3)
    """,
    "build": """
        nodes = ['10.0.%d.%d:11211' % (n // 250, n % 250) for n in range(1000)]
        from evenly.balancers import Ring, Ketama, HashRing
        from uhashring import HashRing as Theirs
        turns({
            'evenly Ring, 1000 x 160, ms': lambda: Ring(nodes),
            'evenly Ketama, 1000 x 160, ms': lambda: Ketama(nodes),
            'evenly HashRing ketama, ms': lambda: HashRing(nodes, hash_fn='ketama'),
            'uhashring ketama, ms': lambda: Theirs(nodes, hash_fn='ketama'),
        }, 1e3, 3)
    """,
    "async": """
        import asyncio, async_lru, moka_py, evenly
        async def square(x): return x * x
        async def hits(f):
            await f(7)
            for _ in range(100_000): await f(7)
        turns({
            label + ', ns a hit': lambda wrap=wrap: asyncio.run(hits(wrap(square)))
            for label, wrap in {
                'evenly @cached': evenly.cached(maxsize=2000, ttl=600),
                'moka-py @cached': moka_py.cached(maxsize=2000, ttl=600),
                'async_lru': async_lru.alru_cache(maxsize=2000, ttl=600),
            }.items()
        }, 1e4)
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
                turns({
                    'evenly get, %d threads, us' % threads: lambda: run(ours.get, threads),
                    'redis-py get, %d threads, us' % threads: lambda: run(theirs.get, threads),
                }, 1e6 / 4000 / threads)
        finally:
            server.terminate(); server.wait()
    """,
    "ratio": """
        import bisect, gzip, itertools, os, pathlib, random
        from evenly.cache import Cache, TinyLFUCache
        from theine import Cache as Theine
        def ours(cache, trace):
            hits = 0
            for key in trace:
                if cache.get(key) is None: cache[key] = key
                else: hits += 1
            return hits
        def theirs(cache, trace):
            hits = 0
            for key in trace:
                found, ok = cache.get(key)
                if ok: hits += 1
                else: cache.set(key, key)
            return hits
        caches = {
            'evenly TinyLFUCache': (ours, TinyLFUCache),
            'evenly Cache auto': (ours, lambda size: Cache(size, policy='auto')),
            'theine': (theirs, Theine),
        }
        shortfalls = {label: [] for label in caches if label != 'theine'}
        def ratios(name, trace, size):
            found = {label: play(make(size), trace) / len(trace) * 100 for label, (play, make) in caches.items()}
            for label, percent in found.items():
                tell(f'{label}, {name}, %', percent)
            for label, all in shortfalls.items():
                all.append(found['theine'] - found[label])
        rng = random.Random(1)
        sums = list(itertools.accumulate(1 / n ** 0.9 for n in range(1, 100_001)))
        zipf = ['%d' % bisect.bisect(sums, rng.random() * sums[-1]) for _ in range(400_000)]
        turns({f'{label}, zipf 0.9, ns an access': lambda play=play, make=make: play(make(1000), zipf)
               for label, (play, make) in caches.items()}, 1e9 / len(zipf), 3)
        ratios('zipf 0.9, 1,000 entries', zipf, 1000)
        folder = pathlib.Path(os.environ['EVENLY_TRACES'])
        for path in sorted(folder.glob('*.txt.gz')) if folder.is_dir() else ():
            trace = []
            with gzip.open(path, 'rt') as lines:
                for line in lines:
                    if line[0] == '#': continue
                    first, _, count = line.split()[0].partition('+')
                    trace += ['%d' % (int(first) + n) for n in range(int(count or 1))]
                    if len(trace) >= int(os.environ['EVENLY_REQUESTS']): break
            unique = len(set(trace))
            for share in (1, 10):
                ratios(f'{path.name[:-7]}, {share} % of {unique:,} keys', trace, max(1, unique * share // 100))
        for label, all in shortfalls.items():
            tell(f'{label}, points below theine, mean', sum(all) / len(all))
            tell(f'{label}, points below theine, worst', max(all))
    """,
}

#: What was asked for: ours, a rival's, and at most (or, with "≥", at least) so many times as much. Without a rival: so much.
GOALS: list[tuple[str, str, str | None, str, float]] = [
    ("instructions: get", "evenly LRUCache.get", "cachebox LRUCache.get", "≤", 1.0),
    ("instructions: get", "evenly TTLCache.get", "evenly LRUCache.get", "≤", 1.15),
    ("instructions: subscript", "evenly LRUCache[]", "cachebox LRUCache[]", "≤", 1.0),
    ("instructions: miss", "evenly LRUCache.get, miss", "cachebox LRUCache.get, miss", "≤", 1.0),
    ("instructions: overwrite", "evenly overwrite", "cachebox overwrite", "≤", 1.0),
    ("instructions: evict", "evenly insert + evict", "cachebox insert + evict", "≤", 1.0),
    ("instructions: cached", "evenly @cached(ttl=600)", "functools.lru_cache", "≤", 1.5),
    ("instructions: cached", "evenly @cached(ttl=600)", "cachebox @cached", "≥", 3),
    ("instructions: cached", "evenly @cached(ttl=600)", "moka-py @cached", "≥", 3),
    ("async", "evenly @cached, ns a hit", "moka-py @cached, ns a hit", "≤", 0.6),
    ("ring", "evenly Ring[]", "uhashring get_node", "≥", 8),
    ("ring", "evenly Ketama[]", "uhashring get_node", "≥", 8),
    ("ring", "evenly HashRing.get_node", "uhashring get_node", "≥", 8),
    ("ring", "evenly HashRing[]", "uhashring []", "≥", 8),
    ("instructions: ring", "evenly Ring[]", "uhashring get_node", "≥", 8),
    ("instructions: ring", "evenly HashRing.get_node", "uhashring get_node", "≥", 8),
    ("instructions: ring", "evenly HashRing[]", "uhashring []", "≥", 8),
    ("batch", "evenly Ring.assign, 10,000 keys, ms", "uhashring, 10,000 keys, ms", "≥", 20),
    ("build", "evenly Ring, 1000 x 160, ms", "uhashring ketama, ms", "≥", 50),
    ("build", "evenly HashRing ketama, ms", "uhashring ketama, ms", "≥", 50),
    ("pick", "evenly round_robin", None, "≤", 150),
    ("pick", "evenly p2c + release", None, "≤", 250),
    ("redis", "evenly get, 1 threads, us", "redis-py get, 1 threads, us", "≥", 2),
    ("redis", "evenly get, 4 threads, us", "redis-py get, 4 threads, us", "≥", 3),
    ("ratio", "evenly Cache auto, zipf 0.9, 1,000 entries, %", "theine, zipf 0.9, 1,000 entries, %", "≤", 1.0),
    ("ratio", "evenly Cache auto, points below theine, mean", None, "≤", 0),
    ("ratio", "evenly Cache auto, points below theine, worst", None, "≤", 0),
    ("ratio", "evenly TinyLFUCache, points below theine, mean", None, "≤", 0),
    ("ratio", "evenly TinyLFUCache, points below theine, worst", None, "≤", 0),
    ("ratio", "evenly TinyLFUCache, zipf 0.9, ns an access", None, "≤", 300),
    ("ratio", "evenly Cache auto, zipf 0.9, ns an access", None, "≤", 300),
]

#: Tables also told in instructions.
COUNTED = ("get", "equal", "subscript", "miss", "overwrite", "evict", "cached", "ring", "pick")


def loop(setup: str, body: str, rounds: int, members: int = 1000) -> str:
    return f"N, MEMBERS = {rounds}, {members}\n{KEYS}{setup}\ndef run(keys=keys):\n    for key in keys:\n        {body}\n"


def venv() -> None:
    """Everything anew: of an environment that is there, nobody knows what stands in it."""
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run(["/usr/bin/python3.11", "-m", "venv", str(VENV)], check=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *RIVALS], check=True)
    subprocess.run([*pip, os.environ.get("EVENLY_WHEEL") or str(ROOT / "bindings")], check=True)


def nanoseconds(cases: dict[str, tuple[str, str]]) -> Rows:
    rounds, code = 100_000, ["import time, json", "runs = {}"]
    for label, (setup, body) in {"": ("", "pass"), **cases}.items():
        code += [f"scope = {{}}; exec({loop(setup, body, rounds)!r}, scope); runs[{label!r}] = scope['run']"]
    code += [
        "times = {label: [] for label in runs}",
        "for _ in range(9):",
        "    for label, run in runs.items():",
        f"        begin = time.perf_counter(); run(); times[label].append((time.perf_counter() - begin) * 1e9 / {rounds})",
        "print(json.dumps(times))",
    ]
    told = subprocess.run([PYTHON, "-c", "\n".join(code)], check=True, capture_output=True, text=True)
    times = json.loads(told.stdout)
    empty = statistics.median(times.pop(""))
    rows: Rows = {}
    for label, row in times.items():
        rows[label] = tell(label, [time - empty for time in row], "ns")
    return rows


def instructions(cases: dict[str, tuple[str, str]]) -> Rows:
    def count(setup: str, body: str, rounds: int) -> int:
        # A ring of 100: to draw uhashring's of 1,000 takes minutes under valgrind.
        script = loop(setup, body, rounds, members=100) + "run()\n"
        told = subprocess.run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", PYTHON, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "1"},
        )
        line = next(line for line in told.stderr.splitlines() if "I refs" in line or "I   refs" in line)
        return int(line.split(":")[1].strip().replace(",", ""))

    def each(setup: str, body: str) -> float:
        few, many = 5_000, 25_000
        return (count(setup, body, many) - count(setup, body, few)) / (many - few)

    rows: Rows = {}
    for label, (setup, body) in cases.items():
        # What is set up may grow with the keys: the empty loop has it too.
        rows[label] = tell(label, [each(setup, body) - each(setup, "pass")], "")
    return rows


#: What programs begin with: `turns` measures runs, one after the other in each round, and tells each when all are done.
HEAD = """
import json, time
def tell(label, *numbers):
    print(json.dumps([label, numbers]), flush=True)
def turns(runs, scale, rounds=9):
    times = {label: [] for label in runs}
    for _ in range(rounds):
        for label, run in runs.items():
            begin = time.perf_counter(); run(); times[label].append((time.perf_counter() - begin) * scale)
    for label, row in times.items():
        tell(label, *row)
"""


def program(body: str) -> Rows:
    rows: Rows = {}
    with subprocess.Popen([PYTHON, "-c", HEAD + textwrap.dedent(body)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            label, numbers = json.loads(line)
            rows[label] = tell(label, numbers, "")
    if running.returncode != 0:
        raise SystemExit(f"a program of the table ended with {running.returncode}")
    return rows


def measure(tables: list[str], counts: bool) -> dict[str, Rows]:
    seen: dict[str, Rows] = {}
    for table in tables:
        print(f"\n{table}")
        seen[table] = program(PROGRAMS[table]) if table in PROGRAMS else nanoseconds(TABLES[table])
        if table in COUNTED and counts:
            name = f"instructions: {table}"
            print(f"\n{name}")
            seen[name] = instructions(TABLES[table])
    return seen


def tell(label: str, numbers: list[float], unit: str) -> tuple[float, float, float]:
    """Prints a row as soon as it is there."""
    median, low, high = statistics.median(numbers), min(numbers), max(numbers)
    spread = "" if low == high else f"   ({low:,.1f} to {high:,.1f})"
    print(f"  {label:60} {median:12,.1f} {unit}{spread}", flush=True)
    return median, low, high


def judge(seen: dict[str, Rows]) -> None:
    print("\ngoals")
    for table, ours, rival, relation, bound in GOALS:
        if table not in seen:
            continue
        mine = seen[table][ours][0]
        if rival is None:
            found, what = mine, ours
        else:
            theirs = seen[table][rival][0]
            # A ratio of hits is better the larger: turned round, "at most once theirs" means at least as many.
            is_better_larger = relation == "≥" or ours.endswith("%")
            found, what = (theirs / mine if is_better_larger else mine / theirs), f"{ours} : {rival}"
        is_met = found >= bound if relation == "≥" else found <= bound
        print(f"  {'met   ' if is_met else 'MISSED'} {found:8.2f} {relation} {bound:<6} {what}   ({table})")


def here() -> dict[str, object]:
    def told(*command: str) -> str:
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()

    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "commit": told("git", "describe", "--always", "--dirty"),
        "machine": f"{len(model)} x {model[0] if model else 'unknown'}",
        "load": os.getloadavg()[0],
        "python": told(PYTHON, "--version"),
        "command": " ".join(sys.argv),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="tables, with commas: " + "; ".join([*TABLES, *PROGRAMS]))
    parser.add_argument("--time", action="store_true", help="no instructions")
    parser.add_argument("--keep", action="store_true", help="measure what stands in .venv-speed, as it is")
    parser.add_argument("--requests", type=int, default=300_000, help="of each trace (300000)")
    options = parser.parse_args()
    tables = options.only.split(",") if options.only else [*TABLES, *PROGRAMS]
    unknown = [table for table in tables if table not in TABLES and table not in PROGRAMS]
    if unknown:
        parser.error(f"no table {', '.join(unknown)} (there are {', '.join([*TABLES, *PROGRAMS])})")
    if not options.time and not shutil.which("valgrind"):
        parser.error("instructions need valgrind; --time does without")
    os.environ.setdefault("EVENLY_TRACES", str(ROOT.parent / "shared" / "traces"))
    os.environ["EVENLY_REQUESTS"] = str(options.requests)
    if not options.keep:
        venv()
    about = here()
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    begin = time.monotonic()
    seen = measure(tables, not options.time)
    judge(seen)
    print(f"\n{time.monotonic() - begin:.0f} s")
    target = ROOT / "target" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "python.json").write_text(json.dumps({**about, "seen": seen}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
