"""The types are right: mypy finds no fault, and the stub of the compiled half says what is there, without an allow-list."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def run(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_stub_agrees_with_the_compiled_half() -> None:
    run("mypy.stubtest", "evenly._evenly", "--mypy-config-file", "pyproject.toml")


def test_every_public_name_is_typed_for_users(tmp_path: pathlib.Path) -> None:
    # By a copy on the path: what is installed for editing has no folder that pyright would look into.
    shutil.copytree(ROOT / "python" / "evenly", tmp_path / "evenly", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "evenly", "--ignoreexternal", "--pythonpath", sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "Type completeness score: 100%" in result.stdout, result.stdout + result.stderr


def test_the_package_and_what_users_write_are_typed(tmp_path: pathlib.Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(
        "from evenly.balancers import Pool, Ring\n"
        "from evenly.cache import LRUCache\n"
        "cache: LRUCache[str, int] = LRUCache(10, on_evict=lambda key, value, cause: print(key + cause, value + 1))\n"
        "cache['a'] = 1\n"
        "found: int = cache['a'] + cache.get_or_insert('b', lambda: 2)\n"
        "maybe: int | None = cache.get('a')\n"
        "ring: Ring[str] = Ring({'a': 1})\n"
        "name: str = ring['key'].upper()\n"
        "pool: Pool[str] = Pool(['a', 'b'])\n"
        "with pool.pick(avoid=[pool.pick()]) as lease:\n"
        "    member: str = lease.member\n"
    )
    run("mypy", "--strict", "--config-file", "pyproject.toml", "python/evenly", str(example))
    shutil.copytree(ROOT / "python" / "evenly", tmp_path / "evenly", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (tmp_path / "pyrightconfig.json").write_text('{"include": ["example.py"], "strict": ["example.py"]}')
    run("pyright", "--pythonpath", sys.executable, "--project", str(tmp_path))
