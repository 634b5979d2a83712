"""Putting a local exchange together from candles, a config and what is kept of its last run."""

from collections.abc import Callable, Sequence
from pathlib import Path

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.exchange.desk import Desk
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Faults
from gridv4_bt.exchange.limits import Limits
from gridv4_bt.exchange.store import Store

HISTORY = 1_500  #: bars before trading begins, as many as one request for candles may ask for


def open_desk(
    feeds: Sequence[CandleFeed],
    config: GridConfig,
    *,
    cash: float = 10_000.0,
    start_ms: int | None = None,
    rules: Path | None = None,
    participation: float = INFINITY,
    database: Path | None = None,
    faults: Faults | None = None,
    limits: Limits | None = None,
    go_on: Callable[[Exchange], None] | None = None,
) -> Desk:
    """Return the desk of a local exchange that replays candles.

    Parameters
    ----------
    start_ms : where trading begins, UTC; by default after `HISTORY` bars, or half of them if there are fewer than
        twice as many.
    rules : a file of brackets or filters in place of the packaged table (see `load_market_history`).
    database : file that keeps the state; what it holds already goes on.
    The others are those of `Exchange` and `Desk`.

    Raises
    ------
    ConfigError, DataError, MarketError
        The candles, the rules or the database do not fit.
    """
    if start_ms is None:
        times = feeds[0].candles.time
        start_ms = int(times[min(HISTORY, len(times) // 2)])
    markets = {feed.p.name: load_market_history(feed.p.name, rules) for feed in feeds}
    exchange = Exchange(feeds, markets, config, cash, start_ms, participation)
    store = Store(database) if database is not None else None
    return Desk(exchange, limits=limits, store=store, faults=faults, go_on=go_on)
