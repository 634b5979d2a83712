"""RunRecorder: the Backtrader analyzer that keeps what a GridStrategyV4 run did.

It costs nothing while the run lasts: the strategy's own log and the broker's list of trades are taken
over at the end. What it keeps is plain arrays and tuples, so it survives pickling and optstrategy.
"""

from dataclasses import dataclass, field

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from gridv4_bt.engine.types import ClosedTrade, Fill
from strategies.grid_v4 import LOG_COLUMNS


@dataclass
class SymbolRecord:
    """One symbol's side of a run."""

    symbol: str
    rules: str  #: dates and sources of the market's filters and brackets, those in force at the end
    bars: int  #: of the feed, warm-up included
    log: NDArray[np.float64]  #: shape (bars traded, len(LOG_COLUMNS))
    close: NDArray[np.float64]  #: close price at each row of the log; empty when the run kept no history
    ladder: NDArray[np.uint8]  #: shape (bars traded, 2*levels): `trace` of `gridv4_bt.engine.ladder.plan_ladder`
    funding: NDArray[np.float64]  #: shape (settlements, 3): time, funding paid so far by open LONG, SHORT fills
    trades: list[ClosedTrade]  #: in the order they closed
    open_fills: list[tuple[str, Fill]] = field(default_factory=list)  #: positionSide and fill, left at the end
    halts: int = 0
    stops: int = 0
    margin_calls: int = 0
    min_liquidation_distance: float = float("inf")
    blocked: dict[str, int] = field(default_factory=dict)  #: level-bars without an order, by reason
    warnings: dict[str, int] = field(default_factory=dict)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column of the log by its name in `LOG_COLUMNS`."""
        return self.log[:, LOG_COLUMNS.index(name)]


@dataclass
class WalletRecord:
    """The shared wallet's totals at the end of a run, quote."""

    start: float
    wallet: float
    equity: float
    gross: float
    fees: float
    funding: float
    liquidations: int
    maker_executions: int
    taker_executions: int
    ambiguous_bars: int  #: in which the unknown order of prices decided what fills


class RunRecorder(bt.Analyzer):
    """Record one GridStrategyV4 and the wallet it trades with.

    ``record`` is a `SymbolRecord`, ``wallet`` a `WalletRecord`; both exist once the run has ended.
    """

    only_at_end = True  # see gridv4_bt.compat.RunningAnalyzers

    record: SymbolRecord
    wallet: WalletRecord

    def stop(self) -> None:
        strategy, broker = self.strategy, self.strategy.broker
        symbol = strategy.market.symbol
        account = broker.account
        log = np.array(strategy.log).reshape(-1, len(LOG_COLUMNS))
        close = np.array(strategy.feed.lines.close.get(size=len(log)))
        self.record = SymbolRecord(
            symbol=symbol,
            rules=strategy.market.as_of,
            bars=len(strategy.feed),
            log=log,
            close=close if len(close) == len(log) else np.empty(0),
            ladder=np.frombuffer(bytes(strategy.plan.trace), np.uint8).reshape(len(log), 2 * strategy.config.levels),
            funding=np.array(strategy.funding_log).reshape(-1, 3),
            trades=[trade for trade in account.closed if trade.symbol == symbol],
            open_fills=[(side.side.name, fill) for side in strategy.sides for fill in side.tracker.fills],
            halts=strategy.halts,
            stops=strategy.stops,
            margin_calls=strategy.margin_calls,
            min_liquidation_distance=strategy.min_liquidation_distance,
            blocked=dict(strategy.blocked_reasons()),
            warnings=dict(strategy.warnings),
        )
        self.wallet = WalletRecord(
            start=account.start,
            wallet=account.wallet,
            equity=broker.getvalue(),
            gross=account.gross,
            fees=account.fees,
            funding=account.funding,
            liquidations=account.liquidations,
            maker_executions=account.maker_executions,
            taker_executions=account.taker_executions,
            ambiguous_bars=broker.ambiguous_bars,
        )

    def get_analysis(self) -> dict[str, object]:
        """Return both records by name."""
        return {"record": self.record, "wallet": self.wallet}
