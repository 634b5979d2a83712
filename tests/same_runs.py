"""A sweep's result is that of the run in Backtrader, to the last bit."""

import numpy as np

from gridv4_bt.backtest import RunResult
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.metrics.summary import daily_returns
from gridv4_bt.metrics.trading import whole_trades
from gridv4_bt.sweep import SweepResult

#: Summary keys that a result has by the same name.
FIGURES = (
    "end_equity", "net_return", "max_drawdown", "trades", "gross", "fees", "funding", "open_fills", "halts", "stops",
    "margin_calls", "liquidations", "win_rate", "profit_factor", "ambiguous_bars",
)  # fmt: skip


def assert_same(result: SweepResult, reference: RunResult) -> None:
    """All closed trades in every field, the row of every bar, all counts: to the last bit."""
    [record], summary = reference.records, reference.summary
    assert result.closed == record.trades
    np.testing.assert_array_equal(result.log, record.log)
    assert {name: getattr(result, name) for name in FIGURES} == {name: summary[name] for name in FIGURES}
    assert result.label_trades == {label: group["trades"] for label, group in summary["by_label"].items()}
    assert_counts_bullets(result, record)
    assert result.blocked == record.blocked
    assert result.liquidation_near == record.warnings.get("liquidation_near", 0)
    assert result.min_liquidation_distance == record.min_liquidation_distance
    executions = result.maker_executions + result.taker_executions
    assert (result.maker_executions / executions if executions else None) == summary["maker_ratio"]
    assert result.fills == len({trade.trade_id for trade in record.trades} | {fill.id for _, fill in record.open_fills})
    assert result.bars_in_market / result.bars == summary["time_in_market"]
    days, returns = daily_returns(record.column("time"), record.column("equity"), result.start_equity)
    np.testing.assert_array_equal(result.days, days)
    np.testing.assert_array_equal(result.daily_returns, returns)


def assert_counts_bullets(result: SweepResult, record) -> None:
    """The counts and Kelly's returns against the closings alone: grouped by fill, less the fills still open."""
    still_open = {fill.id for _, fill in record.open_fills}
    nets, qtys, last = {}, {}, {}
    for number, trade in enumerate(record.trades):
        net = trade.gross - trade.fees - trade.funding
        nets[trade.trade_id] = nets.get(trade.trade_id, 0.0) + net
        qtys[trade.trade_id] = qtys.get(trade.trade_id, 0.0) + trade.qty
        last[trade.trade_id] = number
    ended = [fill for fill in sorted(last, key=last.get) if fill not in still_open]
    profits = [nets[fill] for fill in ended if nets[fill] > 0.0]
    assert (result.trades, result.wins) == (len(ended), len(profits))
    assert result.profit == plain_sum(profits)
    assert result.loss == plain_sum(nets[fill] for fill in ended if nets[fill] <= 0.0)
    assert sum(result.label_trades.values()) == len(record.trades)
    said = {number: (trade.bullet_qty, trade.bullet_net) for number, trade in enumerate(record.trades)}
    expected = dict.fromkeys(said, (0.0, 0.0)) | {last[fill]: (qtys[fill], nets[fill]) for fill in ended}
    assert said == expected
    assert [(one.trade_id, one.qty, one.net) for one in whole_trades(record.trades, still_open)] == [
        (fill, qtys[fill], nets[fill]) for fill in ended
    ]
    assert whole_trades(record.trades) == whole_trades(record.trades, still_open)
