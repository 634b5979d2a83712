"""The markets on which trials run: each window is traded from its first day."""

from datetime import date

import numpy as np
import pytest
from busy import busy
from busy_market import busy_market
from fake_market import space

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.core.time import DAY_MS, time_ms
from gridv4_bt.optimise.markets import load_symbols, make_market, wallet_name
from gridv4_bt.optimise.space import Space
from gridv4_bt.optimise.walkforward import main_span, make_markets

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def sample() -> SymbolData:
    market = sample_market(days=25)
    return SymbolData(SYMBOL, market.candles, market.funding)


@pytest.mark.parametrize("days", [1, 8])
def test_a_window_is_traded_from_its_first_day_to_its_last_by_both_engines(sample, days):
    first, last = date(2024, 1, 11), date(2024, 1, 10 + days)
    backtrader, swept = (
        make_market([sample], first, last, 10_000.0, engine).evaluate(busy()) for engine in ("backtrader", "sweep")
    )
    # Without the bars before it a single day has no bar to trade: the volatility needs 96.
    day = time_ms(first) // DAY_MS
    assert backtrader.days.tolist() == swept.days.tolist() == list(range(day, day + days))
    np.testing.assert_array_equal(backtrader.returns, swept.returns)
    assert backtrader.figures == swept.figures


def test_all_trials_of_a_search_take_the_warm_up_of_the_longest(sample):
    searched = space(fixed={"sigma_bars": 192}, parameters={"warm_up": {"low": 0, "high": 20_000}})
    for market in make_markets(searched, [sample], searched.windows, "backtrader").values():
        assert market.warm_up == 20_001
    for market in make_markets(space(), [sample], space().windows, "backtrader").values():
        assert market.warm_up == 10_000


# --- symbols that share a wallet


def shared(**changes) -> Space:
    """A space of four symbols that share a wallet, one of them held out."""
    names = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
    symbols = [{"name": name, "candles": "x.csv", "use": "test" if name == "DUSDT" else "search"} for name in names]
    return space(**{"symbols": symbols, "wallet": "shared"} | changes)


@pytest.fixture(scope="module")
def four() -> list[SymbolData]:
    """Symbols of which the second begins on the sixth day and the third ends with the tenth."""
    found = []
    for number, name in enumerate(("AUSDT", "BUSDT", "CUSDT", "DUSDT")):
        market = busy_market(seed=number, days=20)
        rows = slice({1: 5 * 96}.get(number, 0), {2: 10 * 96}.get(number, 20 * 96))
        [feed] = make_feeds([SymbolData(name, market.candles.iloc[rows].reset_index(drop=True), market.funding)])
        found.append(SymbolData(name, feed.candles, feed.p.funding))
    return found


def test_the_symbols_searched_trade_with_one_wallet_and_those_held_out_with_another(four):
    for use, names in (("search", ("AUSDT", "BUSDT", "CUSDT")), ("test", ("DUSDT",))):
        markets = make_markets(shared(), four, shared().windows, "backtrader", use)
        [(cell, market)] = markets.items()
        assert cell == ("+".join(names), "main")
        assert tuple(one.symbol for one in market.symbols) == names


def test_a_wallet_of_many_symbols_has_a_short_name():
    assert wallet_name(["A", "B", "C", "D", "E"]) == "A+B+C and 2 more"


def test_both_engines_trade_the_wallet_alike(four):
    configs = (busy(k=1.0, floor_pct=0.004), busy(regime="none", var_pct=0.5))
    markets = [
        make_markets(shared(), four, shared().windows, engine)["AUSDT+BUSDT+CUSDT", "main"]
        for engine in ("backtrader", "sweep")
    ]
    for config in configs:
        run, swept = (market.evaluate(config) for market in markets)
        assert run.figures["trades"] > 20 and 1 < run.figures["bets"] < run.figures["trades"]
        np.testing.assert_array_equal(run.returns, swept.returns)
        assert swept.figures == pytest.approx(run.figures, rel=1e-12)


def test_the_returns_are_those_of_the_whole_wallet(four):
    market = make_market(four[:3], None, None, 10_000.0, "backtrader")
    run_ = run(make_cerebro(make_feeds(four[:3]), busy(), 10_000.0))
    assert np.prod(1.0 + market.evaluate(busy()).returns) - 1.0 == pytest.approx(run_.summary["net_return"])


def test_a_symbol_is_left_out_of_the_windows_in_which_it_has_no_bar(four):
    windows = [
        {"name": "early", "from": "2024-01-02", "to": "2024-01-04"},
        {"name": "late", "from": "2024-01-12", "to": "2024-01-15"},
    ]
    some = shared(windows=windows)
    markets = make_markets(some, four, some.windows, "backtrader")
    traded = {window: [one.symbol for one in market.symbols] for (_, window), market in markets.items()}
    assert traded == {"early": ["AUSDT", "CUSDT"], "late": ["AUSDT", "BUSDT"]}


def test_the_span_of_a_shared_wallet_is_that_of_all_its_symbols(four):
    day = time_ms(date(2024, 1, 1)) // DAY_MS
    assert main_span(shared(), four) == (day, day + 19)
    assert main_span(shared(wallet="each"), four) == (day + 5, day + 9)


def test_what_is_held_out_changes_no_name_of_the_data(tmp_path):
    candles = busy_market(seed=1, days=3).candles
    names = []
    for number in (1, 2):
        candles.to_csv(tmp_path / "A.csv", index=False)
        busy_market(seed=number, days=3).candles.to_csv(tmp_path / "D.csv", index=False)
        symbols = [
            {"name": "A", "candles": tmp_path / "A.csv"},
            {"name": "D", "candles": tmp_path / "D.csv", "use": "test"},
        ]
        names.append(load_symbols(space(symbols=symbols), {})[1])
    assert names[0] == names[1]
