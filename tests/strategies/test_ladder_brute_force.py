"""At every bar the strategy must leave standing exactly what the plain reading of SPEC leaves."""

import pytest
from brute_force import BruteForce


def follow(run, orders=True):
    oracle = BruteForce(run.strategy.config, run.strategy.market, run.trades)
    for moment in run.moments:
        oracle.check(moment)
    assert dict(run.strategy.blocked_reasons()) == {key: count for key, count in oracle.reasons.items() if count}
    assert not orders or (oracle.kept > 0 and oracle.replaced > 0 and run.trades)
    return oracle


@pytest.mark.parametrize(("first", "bars"), [("2022-11-01", 2_000), ("2024-02-20", 2_000), ("2025-02-15", 2_000)])
def test_real_bars_leave_the_orders_of_the_plain_reading(trade, real, first, bars):
    candles, funding = real("BTCUSDT", first, bars)
    follow(trade(candles, funding=funding))


@pytest.mark.parametrize(
    "params",
    [
        dict(),
        dict(regime="none", var_pct=1.0, stop1_atr=40.0, stop2_atr=60.0),
        dict(levels=25, k=1.0, floor_pct=0.003, order_pct=0.08, gamma=20.0, regime="none"),
        dict(leverage=1.0, order_pct=0.15, max_inventory=2.0, regime="none", var_pct=1.0),
        dict(max_inventory=0.2, order_pct=0.06, regime="none"),
        dict(kelly_min_trades=3, kelly_window=5, reopen_bars=30, keep_price=0.0, keep_qty=0.0),
        dict(gamma=200.0, kappa=50.0, horizon=400, regime="none"),
        dict(spread_sigmas=2.0, regime="none"),
        dict(k=0.3, floor_pct=0.002, levels=20, order_pct=0.02, regime="none"),
        dict(
            z_halt=-2.0,
            z_resume=-0.5,
            var_z=3.0,
            cooldown_stops=0,
            cooldown_bars=20,
            cooldown_factor=0.7,
            kelly_fraction=0.1,
            kelly_min_trades=3,
            trail_share=0.8,
            er_bars=6,
            atr_bars=9,
            adx_min=10.0,
            nudge_pct=0.0035,
            funding_tilt=0.6,
        ),
    ],
    ids=lambda params: ",".join(params) or "busy",
)
def test_random_bars_leave_the_orders_of_the_plain_reading(trade, random_bars, params):
    follow(
        trade(random_bars(seed=len(params), bars=1_200), **params),
        orders=not {"kappa", "spread_sigmas"} & params.keys(),
    )


@pytest.mark.parametrize("seed", range(4))
def test_wild_bars_leave_the_orders_of_the_plain_reading(trade, random_bars, seed):
    candles = random_bars(seed=seed, bars=800, step=0.012)
    follow(trade(candles, regime="none", var_pct=2.0, stop1_atr=9.0, stop2_atr=12.0))


@pytest.mark.parametrize("cash", [60.0, 250.0, 900.0])
def test_small_wallets_leave_the_orders_of_the_plain_reading(trade, random_bars, cash):
    follow(trade(random_bars(seed=5, bars=1_000), cash=cash, regime="none", order_pct=0.1), orders=cash > 100)


def test_bars_without_trades_leave_the_orders_of_the_plain_reading(trade, random_bars):
    candles = random_bars(seed=11, bars=1_200)
    candles.loc[candles.index % 7 < 3, "volume"] = 0.0
    tight = dict(k=0.5, floor_pct=0.003, regime="none", fill_rule="through")
    follow(trade(candles, **tight))


def test_the_sample_market_leaves_the_orders_of_the_plain_reading(trade, sample):
    follow(trade(sample.candles.iloc[:2_500], funding=sample.funding))
