"""The overview picture of a run: price with every fill, equity, drawdown. Headless."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gridv4_bt.analysis.metrics import drawdowns, wallet_curve
from gridv4_bt.analysis.recorder import SymbolRecord
from gridv4_bt.engine.types import TradeLabel

# More points than this are drawn as one line for the lowest and one for the highest of each bucket.
_POINTS = 4_000

_CLOSE_COLOURS = {
    TradeLabel.GRID: "tab:green",
    TradeLabel.STOP1: "tab:orange",
    TradeLabel.STOP2: "tab:red",
    TradeLabel.LIQUIDATION: "black",
}
_PRUNED = "tab:purple"


def plot_overview(records: Sequence[SymbolRecord], summary: dict[str, Any], path: Path) -> None:
    """Draw one price panel a symbol, then the wallet's equity and its drawdown, into a PNG file."""
    rows = len(records) + 2
    figure = Figure(figsize=(16, 5 * len(records) + 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[5.0] * len(records) + [3.0, 2.0])
    for axis, record in zip(axes, records, strict=False):
        _plot_fills(axis, record)
    times, equity = wallet_curve(records)
    when = _dates(times)
    _plot_range(axes[-2], when, equity, "tab:blue", "equity")
    axes[-2].axhline(summary["start_equity"], color="grey", linewidth=0.8)
    axes[-2].set_ylabel("equity, quote")
    _plot_range(axes[-1], when, -100.0 * drawdowns(equity, summary["start_equity"]), "tab:red", "drawdown")
    axes[-1].set_ylabel("drawdown, %")
    locator = AutoDateLocator()
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.suptitle(
        f"{', '.join(summary['symbols'])}   return {summary['net_return']:+.2%}   "
        f"max drawdown {summary['max_drawdown']:.2%}   {summary['trades']} trades   "
        f"fees {summary['fees']:.2f}   funding {summary['funding']:.2f}"
    )
    figure.savefig(path, dpi=100)


def _plot_fills(axis: Axes, record: SymbolRecord) -> None:
    if len(record.close):
        _plot_range(axis, _dates(record.column("time")), record.close, "0.6", "close")
    opened: dict[str, dict[int, tuple[int, float]]] = {"LONG": {}, "SHORT": {}}
    for trade in record.trades:
        opened[trade.side.name][trade.trade_id] = (trade.open_time, trade.entry)
    for side, fill in record.open_fills:
        opened[side][fill.id] = (fill.time, fill.price)
    for side, marker, colour in (("LONG", "^", "tab:blue"), ("SHORT", "v", "tab:brown")):
        points = list(opened[side].values())
        if points:
            axis.scatter(
                _dates(np.array([time for time, _ in points])), [price for _, price in points],
                s=14, marker=marker, color=colour, label=f"{side} entry ({len(points)})", zorder=3,
            )  # fmt: skip
    groups: dict[tuple[str, str], list] = {}
    for trade in record.trades:
        colour = _CLOSE_COLOURS.get(trade.label, _PRUNED)
        name = trade.label if trade.label in _CLOSE_COLOURS else "pruned"
        groups.setdefault((str(name), colour), []).append(trade)
    for (name, colour), trades in sorted(groups.items()):
        axis.scatter(
            _dates(np.array([trade.close_time for trade in trades])), [trade.exit for trade in trades],
            s=10, marker="x", linewidths=0.8, color=colour, label=f"closed: {name} ({len(trades)})", zorder=4,
        )  # fmt: skip
    axis.set_ylabel(f"{record.symbol} price")
    axis.legend(loc="upper left", fontsize=8, ncols=2)


def _plot_range(axis: Axes, when: NDArray, values: NDArray[np.float64], colour: str, label: str) -> None:
    if len(values) <= _POINTS:
        axis.plot(when, values, color=colour, linewidth=0.9, label=label)
        return
    starts = np.linspace(0, len(values), _POINTS // 2, endpoint=False).astype(int)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    axis.fill_between(when[starts], low, high, color=colour, linewidth=0.9, label=label)


def _dates(times_ms: NDArray) -> NDArray[np.datetime64]:
    return np.asarray(times_ms, dtype=np.int64).astype("datetime64[ms]")
