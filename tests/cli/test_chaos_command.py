"""What `gridv4 chaos` prints of its seeds."""

from collections import Counter

import pytest

pytest.importorskip("aiohttp")

from rich.console import Console
from typer.testing import CliRunner

from gridv4_bt.__main__ import make_app
from gridv4_bt.cli.chaos import _line, _print_totals
from gridv4_bt.validation.chaos import Result
from gridv4_bt.validation.laws import Law, Violation

BREACH = Violation(Law.BAN, 1_704_067_200_000, "GET /fapi/v1/klines", "sent 5 s before the end of the ban")


def printed(*results):
    console = Console(width=200, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        _print_totals(console, results)
    return [" ".join(line.replace("│", " ").split()) for line in capture.get().splitlines()]


def test_fills_stops_cuts_closes_and_laws_by_law():
    first = Result(7, fills=3, stops=1, cuts=2, closes=4, faults=Counter(cut=2))
    second = Result(8, fills=5, stops=0, cuts=1, closes=5, faults=Counter(cut=1, html=1), laws=[BREACH, BREACH])
    lines = printed(first, second)
    for line in ("fills 8", "stops 1", "cuts 3", "closes 9", "faults cut 3, html 1", "seeds with a broken invariant 0"):
        assert line in lines
    where = "seed 8: 2024-01-01T00:00:00Z GET /fapi/v1/klines"
    assert f"nothing is sent in a ban 2 1 {where}" in lines
    assert "sent 5 s before the end of the ban" in lines
    assert "a held leg has a stop within 60 s 0 0" in lines
    assert sum(line.startswith(tuple(Law)) for line in lines) == len(Law)


def test_a_seed_is_ok_only_if_no_law_is_broken():
    assert _line(Result(1)).endswith("0 breaches of laws, 0 s: ok")
    assert _line(Result(1, laws=[BREACH])).endswith("1 breaches of laws, 0 s: [red]broken[/]")


def test_an_unknown_mixture_is_refused():
    result = CliRunner().invoke(make_app(["chaos"]), ["chaos", "--faults", "odd", "--seeds", "1"])
    assert result.exit_code != 0
    assert "is none of usual, all" in str(result.exception) + result.output
