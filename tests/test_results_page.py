"""docs/results.md is of these defaults and of the shared data, and README.md repeats its numbers."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results():
    """The program that writes the page."""
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


def test_the_page_is_of_todays_defaults(results):
    named = ", ".join(f"{name} {getattr(results.DEFAULTS, name):g}" for name in results.NAMED)
    assert named in " ".join(PAGE.split())


def test_the_readme_repeats_the_page():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What to expect")[2].partition("\n## ")[0]
    shown = rows(section)
    assert len(shown) > 8
    assert [row for row in shown if row not in rows(PAGE)] == []


def test_the_page_is_of_the_shared_candles(results, shared_data):
    assert [
        row for row in rows(results.table(("",), results.data_rows(shared_data)))[1:] if row not in rows(PAGE)
    ] == []


def test_a_symbol_by_year_comes_out_as_the_page_says(results, shared_data):
    [*by_year] = rows(results.table(results.YEAR_HEADS, results.symbol_rows(shared_data, "TRXUSDT")))
    assert len(by_year) == 6
    assert [row for row in by_year if row not in rows(PAGE)] == []
