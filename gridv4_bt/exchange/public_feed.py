"""The local exchange in real time: it follows the public one-minute candles of the real exchange.

The price stays at the last close until a minute's candle is published, a second or so after its end; then the whole
minute is matched, also against orders placed inside it. Filters and brackets are the packaged ones. Without a network
the time advances, but the prices do not change.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import pandas as pd

from feeds.candles import CandleFeed
from feeds.exchange import MarketDataClient, Unavailable
from feeds.series import Series
from gridv4_bt.core.time import MINUTE_MS
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.recording import Candle

CANDLES, FUNDING = Series("candles", MINUTE_MS), Series("funding")
HISTORY_MS = 5 * 24 * 60 * MINUTE_MS  #: enough for 250 bars of 15 minutes, and to spare
PAUSE = 1.5  #: from a minute's end to the request for its candle, seconds


class PublicFeed:
    """A thread that fetches the closed minutes of some symbols; call the feed to advance an exchange by them.

    Parameters
    ----------
    public : public interface of the real exchange.
    symbols : such as BTC/USDT:USDT.
    wall : the real time, seconds since 1970.
    history_ms : length of the history fetched first.
    """

    speed = 1.0  #: seconds of the market in a second

    def __init__(
        self,
        public: MarketDataClient,
        symbols: Sequence[str],
        wall: Callable[[], float] = time.time,
        history_ms: int = HISTORY_MS,
    ) -> None:
        self._public = public
        self._symbols = {exchange_symbol(symbol): symbol for symbol in symbols}
        self._wall = wall
        self._history_ms = history_ms
        self._next = 0  # open time of the next minute to be fetched, ms
        self._settled: dict[str, int] = {}  # time of the last settlement known, by symbol
        self._minutes: queue.SimpleQueue[dict[str, Candle]] = queue.SimpleQueue()
        self._ended = threading.Event()

    def feeds(self) -> list[CandleFeed]:
        """Fetch the history and return a feed for each symbol; its last candle is the current minute."""
        self._next = int(self._wall() * 1000) // MINUTE_MS * MINUTE_MS
        feeds = []
        for name, symbol in self._symbols.items():
            span = (self._next - self._history_ms, self._next)
            candles, _ = self._public.rows(symbol, CANDLES, span)
            funding, _ = self._public.rows(symbol, FUNDING, (span[0], span[1] + MINUTE_MS))
            self._settled[name] = int(funding["time"].max()) if len(funding) else 0
            close = candles["close"].iloc[-1]
            running = [int(candles["time"].iloc[-1]) + MINUTE_MS, close, close, close, close, 1.0]
            candles = pd.concat([candles, pd.DataFrame([running], columns=candles.columns)], ignore_index=True)
            table = funding if len(funding) else None
            feeds.append(CandleFeed(dataname=candles, funding=table, name=name, interval="1m", gaps="flat"))
        return feeds

    def fetch(self) -> None:
        """Fetch the minutes that have closed since the last time."""
        end = int(self._wall() * 1000) // MINUTE_MS * MINUTE_MS
        if end == self._next:
            return
        found = {}
        for name, symbol in self._symbols.items():
            rows, _ = self._public.rows(symbol, CANDLES, (self._next, end))
            funding, _ = self._public.rows(symbol, FUNDING, (self._settled[name] + 1, end + MINUTE_MS))
            found[name] = rows.set_index("time"), funding["rate"].sum() if len(funding) else None
            if len(funding):
                self._settled[name] = int(funding["time"].max())
        while self._next < end and all(self._next in rows.index for rows, _ in found.values()):
            minute = {}
            for name, (rows, rate) in found.items():
                row = rows.loc[self._next]
                is_last = self._next + MINUTE_MS == end
                minute[name] = Candle(*map(float, row), rate=rate if is_last else None)
            self._minutes.put(minute)
            self._next += MINUTE_MS

    def __call__(self, exchange: Exchange) -> None:
        """Advance an exchange by the fetched minutes, and its clock to real time."""
        while not self._minutes.empty():
            end = exchange.replay.moment_end
            exchange.replay.complete(self._minutes.get())
            exchange.advance(end)
        now = int(self._wall() * 1000)
        exchange.advance(min(now, exchange.replay.moment_end - 1))
        exchange.now = max(exchange.now, now)

    def start(self) -> None:
        """Start fetching."""
        threading.Thread(target=self._run, name="public feed", daemon=True).start()

    def stop(self) -> None:
        """Stop fetching."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(60.0 - (self._wall() - PAUSE) % 60.0):
            try:
                self.fetch()
            except Unavailable:
                continue  # the next request is for all minutes that are missing
