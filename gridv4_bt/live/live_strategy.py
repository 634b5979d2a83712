"""GridStrategyV4 in a live session: it decides at current bars only, and the session places its orders."""

from typing import cast

from feeds.live import LiveFeed
from strategies.grid_v4 import GridStrategyV4
from strategies.snapshot import restore_snapshot


class LiveStrategy(GridStrategyV4):
    """GridStrategyV4 that decides once at each closed bar, never on history and never twice on the same bar.

    Parameters
    ----------
    session : the `gridv4_bt.live.runner.Session` that saves each decision.
    The others are those of `GridStrategyV4`.
    """

    params = (("session", None),)

    def start(self) -> None:
        super().start()
        self.session = self.p.session
        self._live_feed = cast(LiveFeed, self.feed)
        self._live_feed.warm_up_bars = self._first_bar
        self._decided = 0  # open time of the bar decided last, ms
        saved = self.session.saved_decision(self.market.symbol)
        if saved is not None:
            restore_snapshot(self, saved["snapshot"])
            self._decided = saved["bar"]
            self._trades_seen = self.session.trades_seen(self.market.symbol)
        self._seen = 0
        self._waits = False

    @property
    def trades_seen(self) -> int:
        """Number of the broker's closed trades that the strategy knows."""
        return self._trades_seen

    def prenext(self) -> None:
        super().prenext()
        self._alert_short_history(len(self.feed))

    def next(self) -> None:
        bars = self._clock.lencount
        if bars == self._seen or bars < self._first_bar:
            self._alert_short_history(bars)
            return
        self._seen = bars
        time = self.broker.bar_time(self.feed)
        if not self.broker.may_decide(self._live_feed):
            if self._decided and time > self._decided:
                self.memory.bar += 1  # missed bars count for cooldowns
            return
        if time > self._decided:
            super().next()
            self._decided = time
            self.session.decided(self, time)
        self.broker.carry_out(self.feed)
        self.session.carried_out(self)

    def _alert_short_history(self, bars: int) -> None:
        """Alert once if the exchange's history is too short to decide on."""
        if bars < self._first_bar and self._live_feed.is_current and not self._waits:
            self._waits = True
            self.session.event(
                "alert",
                what="history_short",
                symbol=self.market.symbol,
                bars=bars,
                needed=self._first_bar,
                text=f"nothing is decided for {(self._first_bar - bars) / 4:g} hours",
            )
