"""When GridStrategyV4 decides in a live session: once at each closed bar, never on history."""

from typing import Any, Protocol, cast

from brokers.live import LiveHedgeBroker
from feeds.live import LiveFeed
from strategies.grid_v4 import GridStrategyV4
from strategies.snapshot import restore_snapshot


class DecisionLog(Protocol):
    """The session that saves decisions; see `gridv4_bt.live.live_session.LiveSession`."""

    def saved_decision(self, symbol: str) -> dict[str, Any] | None:
        """Return bar and snapshot of a symbol's last decision in the previous session, None if there is none."""

    def trades_seen(self, symbol: str) -> int:
        """Return how many of the closings that are handed over from the previous session a symbol knows already."""

    def decided(self, strategy: GridStrategyV4, bar: int) -> None:
        """Save a decision, before any order of it is sent."""

    def carried_out(self, strategy: GridStrategyV4) -> None:
        """Note that the orders of a decision are placed."""

    def event(self, kind: str, **fields: Any) -> None:
        """Write an event to the logs and send an alert if it calls for one."""


class LiveDecisions:
    """The decisions of one strategy, which goes on where the previous session ended.

    Parameters
    ----------
    strategy : one that has started.
    """

    def __init__(self, strategy: GridStrategyV4, session: DecisionLog) -> None:
        self._strategy = strategy
        self._session = session
        self._broker = cast(LiveHedgeBroker, strategy.broker)
        self._feed = cast(LiveFeed, strategy.feed)
        self._feed.warm_up_bars = strategy._first_bar
        self._decided = 0  # open time of the bar decided last, ms
        self.symbol = symbol = strategy.market.symbol
        saved = session.saved_decision(symbol)
        if saved is not None and "snapshot" in saved:  # else strategies of another kind have traded it
            restore_snapshot(strategy, saved["snapshot"])
            self._decided = saved["bar"]
            strategy._trades_seen = session.trades_seen(symbol)
        self._seen = 0  # bars
        self._waits = False

    def may_decide(self) -> bool:
        """Return whether the strategy decides at the new bar; orders of one decided before are carried out again."""
        strategy = self._strategy
        bars = len(self._feed)
        if bars == self._seen:
            return False
        self._seen = bars
        time = self._broker.bar_time(self._feed)
        if not self._broker.may_decide(self._feed):
            if self._decided and time > self._decided:
                strategy.memory.bar += 1  # missed bars count for cooldowns
            return False
        if time > self._decided:
            return True
        self._carry_out()
        return False

    def decided(self) -> None:
        """Save the decision at the new bar, then place its orders."""
        self._decided = self._broker.bar_time(self._feed)
        self._session.decided(self._strategy, self._decided)
        self._carry_out()

    def ended(self) -> None:
        """Do nothing: all that was decided is saved."""

    def alert_short_history(self) -> None:
        """Alert once if the exchange's history is too short to decide on."""
        bars, needed = len(self._feed), self._strategy._first_bar
        if bars < needed and self._feed.is_current and not self._waits:
            self._waits = True
            self._session.event(
                "alert",
                what="history_short",
                symbol=self.symbol,
                bars=bars,
                needed=needed,
                text=f"nothing is decided for {(needed - bars) / 4:g} hours",
            )

    def _carry_out(self) -> None:
        self._broker.carry_out(self._feed)
        self._session.carried_out(self._strategy)
