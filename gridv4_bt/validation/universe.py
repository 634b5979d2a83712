"""Figures by which markets are compared before any of them is traded, and what a wallet can trade of them.

Nothing here chooses symbols: a few markets cannot say which of such figures is worth following.
"""

import math
from dataclasses import dataclass

import numpy as np

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.core.grid import round_up
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.engine.market import Market

#: A bar that goes so far from the close before it is a tail move, fraction.
TAIL_MOVE = 0.03
_YEAR_DAYS = 365.0


@dataclass(frozen=True)
class MarketFigures:
    """What a market was like before a date."""

    symbol: str
    days: int  #: of history before the date, in all
    range: float  #: median of high / low - 1 of a day
    tail: float  #: 99.9 % quantile of the largest move of a bar from the close before, fraction
    tail_moves: float  #: bars a year that went `TAIL_MOVE` or more from the close before
    spacing_ticks: float  #: the least distance between two levels, in ticks
    volume: float  #: median of a day, quote
    funding: float  #: mean that a LONG pays a year, fraction of notional; NaN without recorded funding


def market_figures(feed: CandleFeed, market: Market, config: GridConfig, at: int, days: int) -> MarketFigures:
    """Return the figures of the last `days` days before a time; what comes after it changes nothing.

    Parameters
    ----------
    at : ms, UTC; only bars that were closed then count.

    Raises
    ------
    ValueError
        There is less than a day before it.
    """
    bars = feed.bars()
    time = bars["time"]
    end = int(np.searchsorted(time, at - BAR_MS, side="right"))
    first = int(np.searchsorted(time, at - days * DAY_MS))
    if end - first < DAY_MS // BAR_MS:
        raise ValueError("less than a day of candles before it")
    high, low, close, volume = (bars[name][first:end] for name in ("high", "low", "close", "volume"))
    day = time[first:end] // DAY_MS
    starts = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    ranges = np.maximum.reduceat(high, starts) / np.minimum.reduceat(low, starts) - 1.0
    moves = np.maximum(high[1:] / close[:-1] - 1.0, 1.0 - low[1:] / close[:-1])
    span = (end - first) * BAR_MS / DAY_MS
    rates = bars["funding"][first:end] if feed.has_funding else np.empty(0)
    paid = rates[~np.isnan(rates)]
    return MarketFigures(
        symbol=feed.p.name,
        days=int((time[end - 1] - time[0] + BAR_MS) // DAY_MS),
        range=float(np.median(ranges)),
        tail=float(np.quantile(moves, 0.999)),
        tail_moves=float((moves >= TAIL_MOVE).sum() / span * _YEAR_DAYS),
        spacing_ticks=float(config.of(feed.p.name).floor_pct * close[-1] / market.tick),
        volume=float(np.median(np.add.reduceat(volume * close, starts))),
        funding=float(paid.sum() / span * _YEAR_DAYS) if len(paid) else math.nan,
    )


@dataclass(frozen=True)
class WalletFit:
    """What a wallet can trade of a symbol, by its least sizes. Amounts are quote."""

    symbol: str
    price: float
    level: float  #: notional of a level before multipliers
    smallest: float  #: of the smallest order that the rules ask for: Kelly's floor, cooldown and funding together
    least: float  #: that the exchange takes at this price
    needed: float  #: wallet at which every order fits

    @property
    def verdict(self) -> str:
        """Return what of the levels can be traded."""
        if self.level < self.least:
            return "none"
        return "all" if self.smallest >= self.least else "some"


def wallet_fit(symbol: str, market: Market, price: float, wallet: float, config: GridConfig) -> WalletFit:
    """Return what a wallet can trade of a symbol at a price."""
    least = least_notional(market, price)
    config = config.of(symbol)
    shrink = config.kelly_floor * config.cooldown_factor * (1.0 - config.funding_tilt)
    level = wallet * config.order_pct
    return WalletFit(symbol, price, level, level * shrink, least, least / (config.order_pct * shrink))


def least_notional(market: Market, price: float) -> float:
    """Return the notional of the smallest order that passes the filters at a price, quote."""
    qty = max(market.min_qty, round_up(market.min_notional / price, market.step))
    return qty * price
