"""The metrics as Backtrader analyzers: add any of them to any Cerebro and ask `get_analysis` after the run.

They measure at the end, from one shared recording, so a second one costs next to nothing. With a GridStrategyV4 nothing
is done while bars run. What a run lacks is absent: without a grid the analyses of pruning, levels and the like are
empty, and with a broker other than `HedgeBroker` all but those of the equity.

    cerebro.addanalyzer(RiskRatios)
    strategy = cerebro.run()[0]
    strategy.analyzers.riskratios.get_analysis()["sortino"]
"""

from __future__ import annotations

from typing import Any

from gridv4_bt.metrics.performance import drawdowns
from gridv4_bt.metrics.recorder import RunAnalyzer
from gridv4_bt.metrics.summary import finite, measure, summarize_recording
from gridv4_bt.metrics.trading import grouped
from gridv4_bt.metrics.whole_run import WholeRun


class GroupAnalyzer(RunAnalyzer):
    """Base: an analyzer whose analysis is one group of the summary."""

    group = ""  #: a name in `gridv4_bt.metrics.summary.GROUPS`

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        return measure(recording, self.group)


class RunSummary(RunAnalyzer):
    """All figures of ``summary.json`` but the seconds the run took."""

    watches_margin = True

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        return summarize_recording(recording)


class EquityDrawdown(RunAnalyzer):
    """Arrays of a value each bar: ``time`` (ms), ``equity`` (quote), ``drawdown`` (fraction below the high)."""

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        times, equity = recording.curve
        fall = drawdowns(equity, recording.wallet.start)
        return {"time": times.astype("int64"), "equity": equity.copy(), "drawdown": fall}


class ReturnsByPeriod(GroupAnalyzer):
    """Returns of all months and years, best and worst day; see `performance.returns_by_period`."""

    group = "returns"


class RiskRatios(GroupAnalyzer):
    """Sharpe, Sortino, Calmar, Omega, expected shortfall, volatility; see `performance.risk`."""

    group = "risk"


class RecoveryTimes(GroupAnalyzer):
    """How long the equity lay below its high; see `performance.recovery`."""

    group = "recovery"


class ExposureLevels(GroupAnalyzer):
    """Notional held over equity; see `exposure.exposure`."""

    group = "exposure"


class MarginSafety(GroupAnalyzer):
    """Margin ratio and distance to liquidation; see `exposure.margin_safety`."""

    watches_margin = True
    group = "margin"


class CoMovement(GroupAnalyzer):
    """Independent bets, and how much the symbols move together; see `co_movement.co_movement`."""

    group = "co_movement"


class TradingActivity(GroupAnalyzer):
    """Fills a day, turnover, maker ratio; see `trading.activity`."""

    group = "activity"


class HoldingTimes(GroupAnalyzer):
    """How long fills were held; see `trading.holding`."""

    group = "holding"


class TradingCosts(GroupAnalyzer):
    """Fees and funding as a share of profits; see `trading.costs`."""

    group = "costs"


class FundingBySide(GroupAnalyzer):
    """Funding paid and received by LONG and SHORT; see `trading.funding_by_side`."""

    group = "funding_by_side"


class ProfitBreakdown(RunAnalyzer):
    """Closings by label, trades by side, regime (grid only) and level (grid only), as in the summary."""

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        if not recording.is_hedged:
            return {}
        keys = ("label", "side", "regime") if recording.is_grid else ("label", "side")
        found = {f"by_{key}": finite(grouped(recording.trades, recording.whole_trades, key)) for key in keys}
        return found | ({"by_level": measure(recording, "levels")} if recording.is_grid else {})


class AdverseSelection(GroupAnalyzer):
    """How far the price moved against entries; see `hindsight.adverse_selection`."""

    group = "adverse_selection"


class PruningCost(GroupAnalyzer):
    """Net result of pruned fills, and of holding them for a day instead; see `hindsight.pruning`."""

    group = "pruning"


class GridEfficiency(GroupAnalyzer):
    """Profit of a pair, and how much of the market the ladder used; see `ladder_use.grid_efficiency`."""

    group = "grid"


class BlockedLevels(GroupAnalyzer):
    """Why levels had no order; see `ladder_use.blocked`."""

    group = "blocked_share"


class PassivbotMetrics(GroupAnalyzer):
    """Figures under passivbot's names; see `passivbot.passivbot_metrics`."""

    group = "passivbot"
