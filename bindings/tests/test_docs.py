"""The README, the recipes and the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pathlib
import re

import pytest

import evenly

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "bindings/README.md", "docs/python.md"])
def test_code_on_the_page_runs(page: str, server: str) -> None:
    text = (ROOT / page).read_text().replace("redis://127.0.0.1:6379", server)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert blocks, f"{page} has no Python"
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("module", ["cache", "balancers", "_memo"])
def test_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"evenly.{module}"), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0


def test_version_is_the_crate_s() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", evenly.__version__)
