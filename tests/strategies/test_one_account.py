"""SPEC section 6, "One account": real markets in one wallet, in any order, with holes, against a second opinion."""

import random
from itertools import permutations

import pytest
from busy import busy
from one_account import SecondOpinion, trade_together, with_holes
from same_runs import assert_identical
from wallets import shifted_symbols
from wallets import with_holes as missing_bars

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RULES = ("offset", "delever", "margin_call")  #: labels of the account's rules
#: Orders so large that every rule of the whole account acts within weeks, and nothing else is in their way.
ROUGH = busy(
    regime="none", k=0.5, floor_pct=0.002, gamma=0.5, kappa=1e6, horizon=12, sigma_bars=48, order_pct=0.25,
    max_inventory=4, kelly_min_trades=5, kelly_window=20, stop1_atr=4, stop2_atr=7, margin_call=0.03,
    margin_target=0.02, var_pct=0.3, delever_share=0.2, offset_spacings=0.5, leverage=50, reopen_bars=2,
    deviance_atr=5.0, gap_spacings=8.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def market(real):
    """market(first, bars, holes) -> real candles and funding of the three symbols; `holes`: rows to drop by symbol."""

    def read(first="2024-07-28", bars=1_500, holes=None):
        return {symbol: (*real(symbol, first, bars), (holes or {}).get(symbol, ())) for symbol in SYMBOLS}

    return read


HOLES = {
    "BTCUSDT": range(1_400, 1_499),  # pauses: only what never comes again is settled as delisted
    "ETHUSDT": range(300),  # begins later
    "SOLUSDT": [*range(200, 1_400, 7), *range(700, 760)],  # misses bars
}


#: Without guards: the account is liquidated.
RECKLESS = ROUGH.model_copy(
    update=dict(
        stop1_atr=80.0, stop2_atr=120.0, margin_call=0.99, margin_target=0.9, var_pct=9.0, offset_spacings=0.0,
        gap_spacings=0.0, deviance_atr=0.0, max_age_hours=0.0, delever_share=9.0, max_inventory=6.0,
    )
)  # fmt: skip
SPANS = ("2024-07-28", "2022-11-03")


@pytest.fixture(scope="module")
def together(market):
    """together(first, holes, order) -> the run of a span, its feeds in an order; made once."""
    made = {}

    def run(first, holes, order=SYMBOLS):
        key = first, holes is not None, order
        if key not in made:
            made[key] = trade_together(market(first, holes=holes), ROUGH, order=order)
        return made[key]

    return run


@pytest.fixture(scope="module")
def orders(thorough):
    """Orders of three things: all six, or three in which each is first once and each pair stands both ways round."""
    return list(permutations(range(3))) if thorough else [(0, 1, 2), (1, 2, 0), (2, 1, 0)]


@pytest.mark.parametrize("holes", [None, HOLES])
@pytest.mark.parametrize("first", SPANS)
def test_every_step_is_what_a_second_opinion_finds(together, first, holes):
    run = together(first, holes)
    opinion = SecondOpinion(run)
    opinion.check()
    seen = opinion.seen
    assert min(seen[name] for name in ("var", "left to another symbol", "margin calls", *RULES)) >= 3, seen
    assert (min(seen["without a bar"], seen["held without a bar"]) > 200) == (holes is not None)
    assert sum(one.memory.margin_calls for one in run.strategies) == seen["margin calls"]


@pytest.mark.parametrize("holes", [None, HOLES])
@pytest.mark.parametrize("first", SPANS)
def test_feeds_in_any_order_trade_the_same(together, first, holes, orders):
    runs = [together(first, holes, tuple(SYMBOLS[place] for place in order)) for order in orders]
    # Who asks first gets margin, so there must be enough for all.
    assert all(one.blocked_reasons()["margin"] == 0 for run in runs for one in run.strategies)
    labels = runs[0].labels()
    assert sum(labels.values()) > 1_900
    assert min(labels[name] for name in (*RULES, "stop1", "stop2")) >= 5, labels
    for other in runs[1:]:
        assert other.trades() == runs[0].trades()


def test_a_liquidation_is_the_same_in_any_order(market):
    runs = [trade_together(market(), RECKLESS, order=order) for order in (SYMBOLS, SYMBOLS[::-1])]
    assert runs[0].account.liquidations == runs[1].account.liquidations == 1
    assert runs[0].labels()["liquidation"] > 30
    assert [trade[:-2] for trade in runs[0].trades()] == [trade[:-2] for trade in runs[1].trades()]
    # The liquidation prices come from sums in the order of the feeds.
    for one, other in zip(runs[0].trades(), runs[1].trades(), strict=True):
        assert one[-2:] == pytest.approx(other[-2:], rel=1e-11)


@pytest.mark.parametrize("holes", [None, HOLES])
def test_data_in_any_order_gives_the_same_run_to_the_last_bit(market, holes, orders):
    data = [
        SymbolData(symbol, with_holes(candles, drop), funding)
        for symbol, (candles, funding, drop) in market(holes=holes).items()
    ]
    first, *others = (outcome([data[place] for place in order]) for order in orders)
    assert len(first[0]) > 1_900 and first[1]["symbols"] == list(SYMBOLS)
    for other in others:
        assert other == first


@pytest.mark.parametrize("mode", [{"runonce": False}, {"preload": False}, {"exactbars": -1}])
def test_symbols_with_holes_trade_bar_by_bar_as_in_one_go(mode):
    """A symbol's regime does not change where another one's bar comes without its own, as live after a late candle."""
    draw = random.Random(3)
    data = [missing_bars(one, draw, 3, 40) for one in shifted_symbols(3, 1_200, draw)]
    config = busy(k=1.0, floor_pct=0.004, regime="kama")
    stepped = make_cerebro(make_feeds(data), config, 1e5)
    for name, value in mode.items():
        setattr(stepped.p, name, value)
    result = run(stepped)
    assert sum(len(record.trades) for record in result.records) > 100
    assert_identical(result, run(make_cerebro(make_feeds(data), config, 1e5)))


def outcome(data):
    """Closings with their ids, summary and every logged bar of a run that is short of margin now and then."""
    result = run(make_cerebro(make_feeds(data), ROUGH.model_copy(update={"leverage": 20.0}), 10_000.0))
    result.summary.pop("seconds")
    assert result.summary["blocked"]["margin"] > 0
    closings = [trade for record in result.records for trade in record.trades]
    return closings, result.summary, [record.log.tobytes() for record in result.records]
