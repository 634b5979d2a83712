"""Run GridStrategyV4 on the simulated exchange over small hand-made or synthetic markets and look at every bar."""

from collections.abc import Callable
from dataclasses import dataclass

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from busy import BUSY
from busy_market import busy_market

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import SampleMarket
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from strategies.grid_v4 import GridStrategyV4

START = pd.Timestamp("2024-01-01", tz="UTC")
START_MS = 1_704_067_200_000
BAR_MS = 900_000
SIDES = (PositionSide.LONG, PositionSide.SHORT)


@dataclass(frozen=True)
class LegView:
    """One leg at one moment: plain copies."""

    fills: tuple[Fill, ...]
    entries: dict[int, tuple[float, float]]  # level: price, qty
    exits: dict[int, float]
    stop: float | None
    closes: tuple[tuple[int, float, str], ...]  # market orders for the next open: fill id, qty, label

    @classmethod
    def of(cls, leg) -> "LegView":
        return cls(
            tuple(leg.tracker.fills),
            {level: (entry.price, entry.qty) for level, entry in leg.entries.items()},
            dict(leg.exits),
            leg.stop,
            tuple((close.fill_id, close.qty, str(close.label)) for close in leg.closes),
        )


@dataclass(frozen=True)
class Moment:
    """One bar of a run: what the strategy could see, what stood before its decisions and what stands after them."""

    time: int
    close: float
    atr: float
    z: float
    sigma: float
    kama_before: float  # of the bar before
    regime_before: float  # of the bar before
    rate: float  # latest funding rate
    before: dict[int, LegView]  # by sign
    after: dict[int, LegView]
    trades: int  # closed so far
    wallet: float
    booked: float  # start + gross - fees - funding
    log: dict[str, float]


@dataclass
class Run:
    """All that a finished run left behind."""

    strategy: GridStrategyV4
    moments: list[Moment]

    @property
    def trades(self) -> list[ClosedTrade]:
        return self.strategy.broker.account.closed

    @property
    def account(self):
        return self.strategy.broker.account

    def log(self) -> pd.DataFrame:
        return pd.DataFrame(self.strategy.log[:], columns=LOG_COLUMNS)

    def at(self, row: int) -> Moment:
        """The moment of a row of the candles."""
        return next(moment for moment in self.moments if moment.time == START_MS + row * BAR_MS)


def watched(script: Callable | None) -> tuple[type[GridStrategyV4], list[Moment]]:
    """A GridStrategyV4 that records each of its bars; `script(strategy, row)` runs before the decisions."""
    moments: list[Moment] = []

    class Watched(GridStrategyV4):
        def next(self):
            data, broker = self.feed, self.broker
            if len(data) == getattr(self, "_watched_bars", 0):
                super().next()
                return
            self._watched_bars = len(data)
            if script is not None:
                script(self, len(data) - 1)
            legs = {int(side): broker.leg(data, side) for side in SIDES}
            before = {sign: LegView.of(leg) for sign, leg in legs.items()}
            rows = len(self.log)
            super().next()
            if len(self.log) == rows:
                return  # warming up
            account = broker.account
            row = dict(zip(LOG_COLUMNS, self.log.last().tolist(), strict=True))
            moments.append(
                Moment(
                    round((data.datetime[0] - 719_163) * 86_400_000),
                    data.close[0],
                    self.atr[0],
                    self.zscore[0],
                    self.sigma[0],
                    self.kama[-1],
                    self.regime_fsm.regime[-1],
                    broker.state(data).funding_rate,
                    before,
                    {sign: LegView.of(leg) for sign, leg in legs.items()},
                    len(account.closed),
                    account.wallet,
                    account.start + account.gross - account.fees - account.funding,
                    row,
                )
            )

    return Watched, moments


@pytest.fixture(scope="session")
def plain_market() -> Callable[..., Market]:
    """plain_market(**changes) -> a market with tick 0.1, step 0.001 and one bracket of 0.4 % maintenance margin."""

    def make(**changes) -> Market:
        facts = dict(
            symbol="BTCUSDT",
            tick=0.1,
            step=0.001,
            min_qty=0.001,
            min_notional=5.0,
            brackets=(Bracket(0.0, 1e12, 0.004, 0.0),),
            max_leverages=(125.0,),
            as_of="test",
        )
        return Market(**{**facts, **changes})

    return make


@pytest.fixture(scope="session")
def trade(plain_market) -> Callable[..., Run]:
    """trade(candles, ...) -> Run: one symbol, GridStrategyV4 and HedgeBroker.

    `script(strategy, row)` runs before each decision; `exchange` holds the broker's parameters, all else is the
    strategy's. Fees and slippage given to the strategy are given to the broker as well.
    """

    def run(candles, *, funding=None, market=None, cash=10_000.0, script=None, exchange=None, runonce=True, **params):
        market = market or plain_market()
        own = {name: params[name] for name in HedgeBroker.params._getkeys() if name in params}
        cerebro = bt.Cerebro(stdstats=False, runonce=runonce)
        cerebro.setbroker(HedgeBroker(cash=cash, markets={market.symbol: market}, **own, **(exchange or {})))
        cerebro.adddata(CandleFeed(dataname=candles, funding=funding, name=market.symbol))
        kind, moments = watched(script)
        cerebro.addstrategy(kind, **BUSY | params)
        return Run(cerebro.run()[0], moments)

    return run


def frame(rows, volume=1.0, start=START) -> pd.DataFrame:
    """Candles from (open, high, low, close) rows."""
    table = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float)
    table.insert(0, "time", pd.date_range(start, periods=len(table), freq="15min", unit="ms"))
    table["volume"] = volume
    return table


@pytest.fixture(scope="session")
def still() -> Callable[..., pd.DataFrame]:
    """still(bars, then=[...], price=10_000, half=10) -> bars that open and close at a price and swing `half` around it.

    ATR is exactly 2*half, sigma, z and every slope are 0, KAMA is the price. `then` is what comes after: rows of
    (open, high, low, close).
    """

    def make(bars=120, then=(), price=10_000.0, half=10.0) -> pd.DataFrame:
        return frame([(price, price + half, price - half, price)] * bars + list(then))

    return make


@pytest.fixture(scope="session")
def random_bars() -> Callable[..., pd.DataFrame]:
    """random_bars(seed, bars, step, price) -> a random walk with fat wicks on a tick of 0.1."""

    def make(seed=1, bars=1_500, step=0.004, price=30_000.0, tick=0.1) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        moves = rng.standard_t(4, bars) * step / np.sqrt(2)
        close = np.round(price * np.exp(np.cumsum(moves)) / tick) * tick
        opening = np.concatenate([close[:1], close[:-1]])
        high = np.maximum(opening, close) * (1 + rng.exponential(step / 2, bars))
        low = np.minimum(opening, close) * (1 - rng.exponential(step / 2, bars))
        return frame(np.column_stack([opening, high, low, close]), volume=rng.uniform(1, 9, bars))

    return make


@pytest.fixture(scope="session")
def sample() -> SampleMarket:
    """40 days of the busy market."""
    return busy_market(days=40)


@pytest.fixture(scope="session")
def real(shared_data) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """real(symbol, first, bars) -> candles and funding of a slice of the real market."""
    pytest.importorskip("pyarrow")

    def read(symbol="BTCUSDT", first="2024-02-20", bars=3_000):
        candles = pd.read_parquet(shared_data / "candles" / f"{symbol}-15m.parquet")
        funding = pd.read_parquet(shared_data / "funding" / f"{symbol}-funding.parquet")
        row = int(candles["time"].searchsorted(pd.Timestamp(first, tz="UTC")))
        return candles.iloc[row : row + bars].reset_index(drop=True), funding

    return read
