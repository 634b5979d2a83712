"""The overview picture of a run, drawn without a screen whatever matplotlib's backend is."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.metrics.summary import drawdowns, wallet_curve
from gridv4_bt.record.equity import is_of_grid
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report.numbers import MINUS, number, signed
from gridv4_bt.report.page_data import margin_mattered
from gridv4_bt.report.palette import REGIME_COLOURS, colour

Array = NDArray[np.float64]

DPI = 100
WIDTH = 12.0  #: inches, as all lengths
TOP, BOTTOM = 0.4, 0.5  #: margins
GAP = 0.13  #: between two charts

#: About one for each pixel of a chart; with more bars than twice that, each is drawn as its lowest and its highest.
BUCKETS = 900
#: More fills than this are put together, so many stretches of time, as circles.
CROWD = 80
CLUSTERS = 60

# Colours that the colour-blind can tell apart: LONG is blue, SHORT is orange.
LONG_COLOUR, SHORT_COLOUR = colour("--long"), colour("--short")

HALTED = 9  #: beside the regimes in the ribbon
RIBBON = {
    **{code: (code.name.lower().replace("_", " "), colour(name)) for code, name in REGIME_COLOURS.items()},
    HALTED: ("halted", "#333333"),
}


class Picture(Figure):
    """A figure that a notebook shows although pyplot did not make it."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, dpi=DPI, format="png")
        return data.getvalue()


def plot_overview(records: Sequence[SymbolRecord], summary: dict[str, Any], path: Path) -> None:
    """Draw a run into a PNG file.

    For each symbol price with entries and closings, regime and inventory; for the wallet equity, drawdown, margin
    ratio, and closings and profit by label.
    """
    with style.context("default"):
        figure = overview_figure(records, summary)
        figure.savefig(path, dpi=DPI)


def overview_figure(records: Sequence[SymbolRecord], summary: dict[str, Any]) -> Figure:
    """Return the overview, one chart below the other, with their legends in a column at the right."""
    times, equity = wallet_curve(records)
    falls = drawdowns(equity, summary["start_equity"])
    labels = sorted(summary["by_label"], key=lambda name: summary["by_label"][name]["net"])
    panels: list[tuple[float, Callable[[Axes, Axes], None]]] = []
    for record in records:
        panels += [
            (3.3 if len(records) == 1 else 2.6, lambda axis, side, record=record: _price(axis, side, record)),
            *([(0.3, lambda axis, side, record=record: _regimes(axis, side, record))] if is_of_grid(record) else []),
            *([(0.9, lambda axis, side, record=record: _inventory(axis, side, record))] if _held(record) else []),
        ]
    panels += [
        (1.7, lambda axis, side: _equity(axis, side, times, equity, summary)),
        *([(0.9, lambda axis, side: _drawdown(axis, side, times, falls, summary))] if np.any(falls > 0.0) else []),
        *([(0.8, lambda axis, side: _margin(axis, side, records))] if margin_mattered(records) else []),
        (0.5 + 0.17 * max(len(labels), 1), lambda axis, side: _labels(axis, side, records, summary, labels)),
    ]
    heights = [height for height, _ in panels]
    height = sum(heights) + GAP * (len(panels) - 1) + TOP + BOTTOM
    figure = Picture(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    # Fixed margins: matplotlib's layouts take longer than all the drawing.
    grid = GridSpec(
        len(panels), 2, figure, width_ratios=[5.0, 1.0], height_ratios=heights,
        left=0.9 / WIDTH, right=1.0 - 0.15 / WIDTH, bottom=BOTTOM / height, top=1.0 - TOP / height,
        wspace=0.03, hspace=GAP * len(panels) / sum(heights),
    )  # fmt: skip
    clock: Axes | None = None
    for row, (_, draw) in enumerate(panels):
        axis = figure.add_subplot(grid[row, 0], sharex=clock)
        side = figure.add_subplot(grid[row, 1])
        clock = clock or axis
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8, labelbottom=row == len(panels) - 1)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=4 if heights[row] < 1.5 else 6))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        side.set_axis_off()
        draw(axis, side)
    if len(times):
        locator = AutoDateLocator()
        clock.xaxis.set_major_locator(locator)
        clock.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        clock.set_xlim(*_limits(times))
    else:
        clock.set_xticks([])
    figure.suptitle(_title(summary), fontsize=11, y=1.0 - 0.1 / height)
    return figure


def _held(record: SymbolRecord) -> bool:
    """Return whether anything was ever held: charts of nothing are left out."""
    return bool(np.any(record.column("long_qty") > 0.0) or np.any(record.column("short_qty") > 0.0))


def _title(summary: dict[str, Any]) -> str:
    span = f"{summary['from'][:10]} to {summary['to'][:10]}" if summary["from"] else "no bar traded"
    text = f"{', '.join(summary['symbols'])}   {span}   return {signed(summary['net_return'], 'percent')}"
    if summary["liquidations"]:
        text += f"   LIQUIDATED {summary['liquidations']}x"
    return text


def _price(axis: Axes, side: Axes, record: SymbolRecord) -> None:
    """Draw the price, and each fill as a line from entry to closing, or many fills as circles by their number."""
    if len(record.close):
        _plot_range(axis, record.column("time"), record.close, "0.6")
    lives = [
        (trade.open_time, trade.entry, trade.close_time, trade.exit, trade.net, trade.side) for trade in record.trades
    ]
    lives += [
        (fill.time, fill.price, fill.time, fill.price, 0.0, PositionSide[name]) for name, fill in record.open_fills
    ]
    if len(lives) > CROWD:
        _crowd(axis, record, lives)
    else:
        for net in (1.0, -1.0):
            points = [([a, c], [b, d]) for a, b, c, d, gain, _ in lives if (gain >= 0.0) == (net > 0.0)]
            for times, prices in points:
                axis.plot(_dates(np.array(times)), prices, color=_of_net(net), linewidth=1.0, alpha=0.8)
        for sign, marker, tone in ((PositionSide.LONG, "^", LONG_COLOUR), (PositionSide.SHORT, "v", SHORT_COLOUR)):
            points = [(life[0], life[1]) for life in lives if life[5] is sign]
            if points:
                times = np.array([time for time, _ in points])
                axis.scatter(_dates(times), [price for _, price in points], marker=marker, color=tone, s=16, zorder=3)
    axis.set_ylabel(record.symbol, fontsize=9)
    _note(side, _counts(record))


def _crowd(
    axis: Axes, record: SymbolRecord, lives: Sequence[tuple[int, float, int, float, float, PositionSide]]
) -> None:
    """Draw the fills of each stretch of time as one circle: its size by their number, its colour by their net."""
    times, prices, nets = (np.array([life[place] for life in lives], float) for place in (0, 1, 4))
    first, last = record.column("time")[[0, -1]] if len(record.log) else (times.min(), times.max())
    place = np.floor((times - first) / max(last - first, 1.0) * CLUSTERS)
    for one in np.unique(place):
        chosen = place == one
        count = int(chosen.sum())
        axis.scatter(
            _dates(times[chosen].mean(keepdims=True)), prices[chosen].mean(), s=14.0 + 9.0 * count**0.75,
            color=_of_net(float(nets[chosen].sum())), alpha=0.8, linewidths=0.6, edgecolors="white", zorder=3,
        )  # fmt: skip


def _of_net(net: float) -> str:
    return colour("--good" if net >= 0.0 else "--bad")


def _counts(record: SymbolRecord) -> str:
    """Return how many fills there were by side, and how many closings won and lost."""
    opened = {name: set() for name in ("LONG", "SHORT")}
    for trade in record.trades:
        opened[trade.side.name].add(trade.trade_id)
    for name, fill in record.open_fills:
        opened[name].add(fill.id)
    won = sum(trade.net > 0.0 for trade in record.trades)
    lines = [f"{name} fills  {len(ids):,}" for name, ids in opened.items()]
    lines += [f"closings won  {won:,}", f"closings lost  {len(record.trades) - won:,}"]
    if record.open_fills:
        lines.append(f"still open  {len(record.open_fills):,}")
    many = len(record.trades) + len(record.open_fills) > CROWD
    lines += ["", "circles: fills together,", "green won, red lost"] if many else ["", "▲ LONG, ▼ SHORT entry"]
    return "\n".join(lines)


def _regimes(axis: Axes, side: Axes, record: SymbolRecord) -> None:
    """Draw each regime's share of the bars of each bucket; a single bar is of one colour."""
    axis.set_yticks([])
    axis.grid(False)
    axis.set_ylabel("regime", fontsize=8, rotation=0, ha="right", va="center")
    times = record.column("time")
    if not len(times):
        return
    codes = np.where(record.column("halted") > 0.0, HALTED, record.column("regime"))
    starts = _starts(len(codes), BUCKETS)
    counts = np.diff(starts, append=len(codes))
    shares = [np.add.reduceat((codes == code).astype(float), starts) / counts for code in RIBBON]
    edges = np.append(times[starts], times[-1] + _interval(times))
    # The last value again: a step needs an end.
    stack = [np.append(share, share[-1]) for share in shares]
    axis.stackplot(_dates(edges), stack, colors=[tone for _, tone in RIBBON.values()], step="post", linewidth=0)
    axis.set_ylim(0.0, 1.0)
    seen = [look for code, look in RIBBON.items() if np.any(codes == code)]
    patches = [Patch(color=tone, label=name) for name, tone in seen]
    side.legend(
        handles=patches,
        loc="center left",
        fontsize=7,
        frameon=False,
        borderaxespad=0.0,
        ncols=2,
        handlelength=0.9,
        columnspacing=0.8,
        labelspacing=0.2,
        handletextpad=0.4,
    )


def _inventory(axis: Axes, side: Axes, record: SymbolRecord) -> None:
    times, equity = record.column("time"), record.column("equity")
    valued = len(record.close) == len(times)
    axis.set_ylabel("inventory,\n% of equity" if valued else "inventory,\nbase", fontsize=8)
    axis.axhline(0.0, color="grey", linewidth=0.6)
    if not len(times):
        return
    unit = 100.0 * record.close / np.where(equity > 0.0, equity, np.nan) if valued else np.ones(len(times))
    starts = _starts(len(times), BUCKETS)
    lines = []
    for name, sign, tone in (("LONG", 1.0, LONG_COLOUR), ("SHORT", -1.0, SHORT_COLOUR)):
        held = record.column(f"{name.lower()}_qty") * unit
        most = np.fmax.reduceat(held, starts)
        axis.fill_between(_dates(times[starts]), 0.0, sign * most, step="post", color=tone, linewidth=0.5)
        lines.append(f"{name} up to {np.nanmax(held, initial=0.0):,.4g}{' %' if valued else ''}")
    _note(side, "\n".join(lines))


def _equity(axis: Axes, side: Axes, times: Array, equity: Array, summary: dict[str, Any]) -> None:
    axis.set_ylabel("equity", fontsize=9)
    axis.axhline(summary["start_equity"], color="grey", linewidth=0.8)
    _plot_range(axis, times, equity, LONG_COLOUR)
    hold = ((summary.get("benchmark") or {}).get("hold") or {}).get("net_return")
    held = "" if hold is None else f"\nbuy and hold  {signed(hold, 'percent')}"
    _note(
        side,
        f"start  {number(summary['start_equity'], 'money')}\nend  {number(summary['end_equity'], 'money')}\n"
        f"price moves  {signed(summary['gross'])}\nfees  {number(summary['fees'], 'money')}\n"
        f"funding  {number(summary['funding'], 'money')}{held}",
    )


def _drawdown(axis: Axes, side: Axes, times: Array, falls: Array, summary: dict[str, Any]) -> None:
    axis.set_ylabel("drawdown,\n%", fontsize=8)
    if len(times):
        starts = _starts(len(times), BUCKETS)
        deepest = np.maximum.reduceat(100.0 * falls, starts)
        axis.fill_between(_dates(times[starts]), -deepest, 0.0, color=colour("--bad"), alpha=0.5, linewidth=0.8)
        ratio = summary.get("max_margin_ratio")
        calm = f"\nmargin ratio at most  {number(ratio, 'percent')}" if ratio else ""
        _note(side, f"deepest  {number(float(np.max(falls)), 'percent')}{calm}")


def _margin(axis: Axes, side: Axes, records: Sequence[SymbolRecord]) -> None:
    axis.set_ylabel("margin\nratio, %", fontsize=8)
    highest = 0.0
    for record in records:  # each logs the account's ratio while it holds something itself
        times, ratio = record.column("time"), 100.0 * record.column("margin_ratio")
        if not len(times):
            continue
        starts = _starts(len(times), BUCKETS)
        most = np.fmax.reduceat(np.where(np.isfinite(ratio), ratio, np.nan), starts)
        axis.fill_between(_dates(times[starts]), 0.0, most, step="post", color="#555555", linewidth=0.5)
        highest = max(highest, float(np.nanmax(ratio, initial=0.0)))
    axis.set_ylim(bottom=0.0)
    _note(side, f"highest  {highest:,.3g} %\n100 % is liquidation")


def _labels(
    axis: Axes, side: Axes, records: Sequence[SymbolRecord], summary: dict[str, Any], labels: Sequence[str]
) -> None:
    """Draw the closings of each label over time, and its profit beside them."""
    axis.set_ylabel("closed by", fontsize=8)
    rows = range(len(labels))
    axis.set_yticks(rows, labels)
    if not labels:
        axis.text(0.5, 0.5, "no trade closed", transform=axis.transAxes, ha="center", va="center", fontsize=9)
        return
    trades = [trade for record in records for trade in record.trades]
    for row, name in enumerate(labels):
        times = np.array([trade.close_time for trade in trades if trade.label == name], dtype=np.int64)
        axis.eventplot(
            date2num(_dates(times)),
            lineoffsets=row,
            linelengths=0.8,
            linewidths=0.8,
            color=_colour(name),
            alpha=0.6 if len(times) > 300 else 1.0,
        )
    axis.set_ylim(-0.6, len(labels) - 0.4)
    nets = [summary["by_label"][name]["net"] for name in labels]
    side.set_axis_on()
    side.barh(rows, nets, color=[_colour(name) for name in labels], height=0.7)
    side.axvline(0.0, color="black", linewidth=0.8)
    side.set_ylim(axis.get_ylim())
    side.set_yticks([])
    side.set_xticks([])
    widest = max(map(abs, nets)) or 1.0
    side.set_xlim(min(*nets, 0.0) - 0.9 * widest, max(*nets, 0.0) + 0.9 * widest)
    for row, net in zip(rows, nets, strict=True):
        at, align = (net, "left") if net >= 0.0 else (net, "right")
        side.annotate(
            (f"{net:+,.0f}" if abs(net) >= 100.0 else f"{net:+,.2f}").replace("-", MINUS),
            (at, row),
            (3 if net >= 0.0 else -3, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=7,
        )
    side.set_title("net PnL", fontsize=8, pad=2)


def _colour(label: str) -> str:
    """Return the colour of a label: that of its kind on the page."""
    return colour(TradeLabel(label).kind.colour)


def _note(side: Axes, text: str) -> None:
    side.text(0.0, 1.0, text, transform=side.transAxes, fontsize=8, va="top", linespacing=1.4)


def _plot_range(axis: Axes, times: Array, values: Array, tone: str) -> None:
    if len(values) <= 2 * BUCKETS:
        axis.plot(_dates(times), values, color=tone, linewidth=0.9)
        return
    starts = _starts(len(values), BUCKETS)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    axis.fill_between(_dates(times[starts]), low, high, color=tone, linewidth=0.8)


def _starts(count: int, buckets: int) -> NDArray[np.int64]:
    """Return where the buckets begin that hold `count` bars; each bar its own where there are few."""
    return np.arange(count) if count <= 2 * buckets else np.linspace(0, count, buckets, endpoint=False).astype(int)


def _interval(times: Array) -> float:
    return float(times[1] - times[0]) if len(times) > 1 else float(BAR_MS)


def _limits(times: Array) -> tuple[np.datetime64, np.datetime64]:
    """Return the span with a small margin on both sides."""
    room = max((times[-1] - times[0]) * 0.01, _interval(times))
    first, last = _dates(np.array([times[0] - room, times[-1] + room]))
    return first, last


def _dates(times_ms: NDArray) -> NDArray[np.datetime64]:
    return np.asarray(times_ms, dtype=np.int64).astype("datetime64[ms]")
