"""Run indicators over small candle tables in any of Backtrader's modes."""

import backtrader as bt
import numpy as np
import pytest

#: The four ways Backtrader may drive an indicator: vectorised, bar by bar, streaming, streaming with bounded memory.
MODES = {
    "once": dict(runonce=True),
    "next": dict(runonce=False),
    "stream": dict(runonce=False, preload=False),
    "bounded": dict(exactbars=1),
}


class TableFeed(bt.feed.DataBase):
    """Candles from a dict of columns; columns besides open, high, low, close go into the spare lines."""

    lines = ("kama", "atr", "adx")
    params = (("columns", None),)

    def start(self) -> None:
        super().start()
        self.row = 0

    def _load(self) -> bool:
        columns = self.p.columns
        if self.row >= len(columns["close"]):
            return False
        self.lines.datetime[0] = 738_000.0 + self.row / 96
        for name, values in columns.items():
            getattr(self.lines, name)[0] = values[self.row]
        self.row += 1
        return True


class Recorder(bt.Strategy):
    """Keep every line of the indicators under test at every bar, warm-up included."""

    params = (("build", None),)

    def __init__(self) -> None:
        indicators = self.p.build(self.data)
        self.indicators = indicators if isinstance(indicators, tuple) else (indicators,)
        self.rows: list[list[float]] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.rows.append([line[0] for indicator in self.indicators for line in indicator.lines])


@pytest.fixture
def run_indicator():
    """run_indicator(build, candles, mode="once") -> array (lines, bars); `build(data)` gives indicators."""

    def run(build, candles: dict, mode: str = "once") -> np.ndarray:
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(TableFeed(columns=candles))
        cerebro.addstrategy(Recorder, build=build)
        rows = cerebro.run(**MODES[mode])[0].rows
        return np.array(rows).T

    return run


@pytest.fixture
def same_in_all_modes(run_indicator):
    """Assert that every mode gives the same bits and return the `once` result."""

    def check(build, candles: dict) -> np.ndarray:
        once = run_indicator(build, candles)
        for mode in MODES:
            np.testing.assert_array_equal(run_indicator(build, candles, mode), once, err_msg=mode)
        return once

    return check


@pytest.fixture
def random_walk():
    """random_walk(seed, bars) -> candles of a seeded geometric random walk with consistent highs and lows."""

    def make(seed: int, bars: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        close = 30_000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, bars)))
        opening = np.concatenate([close[:1], close[:-1]])
        high = np.maximum(opening, close) * (1.0 + rng.exponential(0.001, bars))
        low = np.minimum(opening, close) * (1.0 - rng.exponential(0.001, bars))
        return dict(open=opening, high=high, low=low, close=close)

    return make


@pytest.fixture
def flat_market():
    """flat_market(bars) -> candles that never move, at a price that is no exact binary fraction."""

    def make(bars: int) -> dict[str, np.ndarray]:
        return {name: np.full(bars, 0.1) for name in ("open", "high", "low", "close")}

    return make


@pytest.fixture
def bitcoin(shared_data) -> dict[str, np.ndarray]:
    """The first 1,500 real 15m candles of BTCUSDT."""
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ["open", "high", "low", "close"]
    table = parquet.read_table(shared_data / "candles" / "BTCUSDT-15m.parquet", columns=names).slice(0, 1_500)
    return {name: table[name].to_numpy() for name in names}
