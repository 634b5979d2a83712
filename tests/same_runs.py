"""A sweep's result is that of the run in Backtrader, to the last bit."""

from dataclasses import fields

import numpy as np
import pytest

from gridv4_bt.backtest import RunResult
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.packed_rows import PackedRows
from gridv4_bt.metrics.summary import daily_returns, wallet_curve
from gridv4_bt.metrics.trading import whole_trades
from gridv4_bt.sweep import SweepResult, SymbolResult

#: Summary keys that a result has by the same name.
FIGURES = (
    "end_equity", "net_return", "max_drawdown", "trades", "gross", "fees", "funding", "open_fills", "halts", "stops",
    "margin_calls", "liquidations", "win_rate", "profit_factor", "ambiguous_bars",
)  # fmt: skip


def assert_same(result: SweepResult, reference: RunResult) -> None:
    """All closed trades in every field, the row of every bar of every symbol, all counts: to the last bit."""
    records, summary = reference.records, reference.summary
    assert [one.symbol for one in result.symbols] == [record.symbol for record in records]
    for one, record in zip(result.symbols, records, strict=True):
        assert [trade for trade in result.closed if trade.symbol == one.symbol] == record.trades
        np.testing.assert_array_equal(one.log, record.log)
        assert_counts_bullets(one, record)
        assert one.blocked == record.blocked
        assert one.liquidation_near == record.warnings.get("liquidation_near", 0)
        assert one.min_liquidation_distance == record.min_liquidation_distance
        assert (one.halts, one.stops, one.margin_calls) == (record.halts, record.stops, record.margin_calls)
    figures = {name: summary[name] for name in FIGURES}
    if len(records) > 1:  # a sum of the symbols' sums, not one over all trades
        assert (result.profit_factor or 0.0) == pytest.approx(figures.pop("profit_factor") or 0.0, rel=1e-12)
    assert {name: getattr(result, name) for name in figures} == figures
    assert result.label_trades == {label: group["trades"] for label, group in summary["by_label"].items()}
    executions = result.maker_executions + result.taker_executions
    assert (result.maker_executions / executions if executions else None) == summary["maker_ratio"]
    ids = {trade.trade_id for record in records for trade in record.trades}
    assert result.fills == len(ids | {fill.id for record in records for _, fill in record.open_fills})
    assert result.bars_in_market / result.bars == summary["time_in_market"]
    assert result.max_margin_ratio == summary["max_margin_ratio"]
    assert result.fills / result.length_days == summary["activity"]["fills_per_day"]
    days, returns = daily_returns(*wallet_curve(records), result.start_equity)
    np.testing.assert_array_equal(result.days, days)
    np.testing.assert_array_equal(result.daily_returns, returns)


def assert_counts_bullets(result: SymbolResult, record) -> None:
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


def assert_identical(result: RunResult, reference: RunResult) -> None:
    """Every field of every record and the whole summary, to the last bit."""
    assert result.summary | {"seconds": 0.0} == reference.summary | {"seconds": 0.0}
    for one, other in zip(result.records, reference.records, strict=True):
        for field in fields(one):
            value, expected = getattr(one, field.name), getattr(other, field.name)
            if isinstance(expected, np.ndarray | PackedRows):
                value, expected = np.asarray(value), np.asarray(expected)
                np.testing.assert_array_equal(value, expected, err_msg=field.name)
                assert value.dtype == expected.dtype
            else:
                assert value == expected, field.name
