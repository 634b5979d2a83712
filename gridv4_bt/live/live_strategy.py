"""GridStrategyV4 in a live session: it decides at current bars only, and somebody carries out what it has decided."""

from strategies.grid_v4 import GridStrategyV4
from strategies.snapshot import restore_snapshot


class LiveGrid(GridStrategyV4):
    """Decide once at each closed bar, never on history, and never twice on the same bar.

    Parameters
    ----------
    session : the `gridv4_bt.live.runner.Session` that is told of each decision.
    The others are those of `GridStrategyV4`.
    """

    params = (("session", None),)

    def start(self) -> None:
        super().start()
        self.session = self.p.session
        self.feed.warm_up_bars = self._first_bar
        self._decided = 0  # open time of the bar decided last, ms
        saved = self.session.saved_decision(self.market.symbol)
        if saved is not None:
            restore_snapshot(self, saved["snapshot"])
            self._decided = saved["bar"]
        self._seen = 0
        self._waits = False

    def prenext(self) -> None:
        super().prenext()
        self._tell_wait(len(self.feed))

    def next(self) -> None:
        bars = self._clock.lencount
        if bars == self._seen or bars < self._first_bar:
            self._tell_wait(bars)
            return
        self._seen = bars
        time = self.broker.bar_time(self.feed)
        if not self.broker.may_decide(self.feed):
            if self._decided and time > self._decided:
                self.memory.bar += 1  # the bars missed count for cooldowns
            return
        if time > self._decided:
            super().next()
            self._decided = time
            self.session.decided(self, time)
        self.broker.carry_out(self.feed)
        self.session.carried_out(self)

    def _tell_wait(self, bars: int) -> None:
        """Tell once that the exchange's history is too short to decide on."""
        if bars < self._first_bar and self.feed.is_current and not self._waits:
            self._waits = True
            self.session.event(
                "alert",
                what="history_short",
                symbol=self.market.symbol,
                bars=bars,
                needed=self._first_bar,
                text=f"nothing is decided for {(self._first_bar - bars) / 4:g} hours",
            )
