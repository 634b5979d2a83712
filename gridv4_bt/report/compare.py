"""Runs side by side from their folders: figures, parameters, the first trade that differs, equity curves."""

import itertools
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gridv4_bt.errors import DataError
from gridv4_bt.metrics.performance import last_of_each
from gridv4_bt.metrics.summary import drawdowns
from gridv4_bt.record.equity import equity_file, read_equity
from gridv4_bt.record.run_files import read_text
from gridv4_bt.record.trades import read_trades
from gridv4_bt.report.numbers import signed
from gridv4_bt.report.palette import colour

Array = NDArray[np.float64]

#: Colours of the runs' curves, by their names in the palette.
CURVES = ("--accent", "--short", "--good", "--prune", "--bad", "--price")

#: How long a run took says nothing about what it did.
TIMINGS = ("seconds",)

#: What is compared of a trade, and the words for it; its number is counted anew in every run.
_FIELDS = {
    "symbol": "symbol", "side": "side", "open_time": "opened", "close_time": "closed", "label": "closed by",
    "regime": "regime at entry", "qty": "quantity", "entry": "entry price", "exit": "exit price",
    "gross": "gross", "fees": "fees", "funding": "funding", "net": "net",
}  # fmt: skip
#: Where these differ it is another trade, not the same one that went otherwise.
_IDENTITY = ("symbol", "side", "open_time")

Trade = Mapping[str, Any]


@dataclass(frozen=True)
class StoredRun:
    """A finished run, read from its folder."""

    name: str
    summary: dict[str, Any]
    config: dict[str, Any]
    trades: list[dict[str, Any]]  #: closings: columns of trades.csv and the number of the row, in their order
    times: NDArray[np.datetime64]  #: of the equity curve, ms
    equity: Array

    @property
    def start_equity(self) -> float:
        """The wallet before the first bar, quote; the equity at the first bar where the summary lacks it."""
        start = self.summary.get("start_equity")
        return float(start) if start else float(self.equity[0])


@dataclass(frozen=True)
class Divergence:
    """The first difference between a run and the first run."""

    same: int  #: trades up to there that are the same
    first: Trade | None  #: the first run's next trade, None after its last
    other: Trade | None
    fields: tuple[str, ...]  #: names of the columns that differ
    equity_time: np.datetime64 | None  #: the first common bar with another equity

    @property
    def trades_differ(self) -> bool:
        """Whether a trade differs, not only the equity between trades."""
        return self.first is not None or self.other is not None


def read_runs(folders: Sequence[Path]) -> list[StoredRun]:
    """Read run folders and name each by the shortest end of its path that no other has.

    Raises
    ------
    DataError
        A file is missing or damaged; the message names it.
    """
    return [read_run(folder, name) for folder, name in zip(folders, run_names(folders), strict=True)]


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder; one given twice gets a number."""
    paths = [folder.resolve().parts for folder in folders]
    names: list[str] = []
    for path in paths:
        others = {other for other in paths if other != path}
        length = next(n for n in range(1, len(path) + 1) if all(other[-n:] != path[-n:] for other in others))
        names.append("/".join(path[-length:]))
    return [f"{name} ({names[:i].count(name) + 1})" if name in names[:i] else name for i, name in enumerate(names)]


def read_run(folder: Path, name: str) -> StoredRun:
    """Read one run's folder.

    Raises
    ------
    DataError
        A file is missing or damaged, or two of them do not belong together.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; name a run's folder")
    summary = _read_summary(folder / "summary.json")
    config = _read_config(folder / "config.toml")
    trades = read_trades(folder / "trades.csv")
    curve = equity_file(folder)
    times, equity = read_equity(curve)
    of_wallet = last_of_each(times)
    times, equity = times[of_wallet], equity[of_wallet]
    by_label = summary.get("by_label")
    counted = len(trades) if by_label is None else sum(group["trades"] for group in by_label.values())
    if counted != len(trades):
        raise DataError(f"{folder / 'trades.csv'}: damaged: {len(trades)} closings, but summary.json counts {counted}")
    last = summary.get("to")
    if last is not None and (not len(times) or last != _iso(times[-1])):
        found = _iso(times[-1]) if len(times) else "nowhere"
        raise DataError(f"{curve}: damaged: ends at {found}, but the run in summary.json at {last}")
    return StoredRun(name, summary, config, trades, times, equity)


def flatten(values: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return nested dictionaries as one, by the path to each value; lists become text."""
    flat: dict[tuple[str, ...], Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {(name, *path): inner for path, inner in flatten(value).items()}
        else:
            flat[(name,)] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def side_by_side(values: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Any]]:
    """Return every value of any of the dictionaries with what each of them has, None where it has none.

    Shared keys keep their order; keys only later ones have follow the values of the same branch.
    """
    flats = [flatten(each) for each in values]
    paths: list[tuple[str, ...]] = []
    for flat in flats:
        paths += [path for path in flat if path not in set(paths)]
    branches = list(dict.fromkeys(path[0] for path in paths))
    paths.sort(key=lambda path: branches.index(path[0]))
    return {path: [flat.get(path) for flat in flats] for path in paths}


def parameter_differences(runs: Sequence[StoredRun]) -> dict[tuple[str, ...], list[Any]]:
    """Return the parameters that are not the same in all runs."""
    table = side_by_side([run.config for run in runs])
    return {path: values for path, values in table.items() if any(value != values[0] for value in values)}


def first_divergence(first: StoredRun, other: StoredRun) -> Divergence | None:
    """Return where two runs of the same symbols part, or None if they never do while both last.

    Trades are compared from the time on at which both runs have begun until the first of them ends.
    """
    span = _common_span(first, other)
    if span is None:
        return None
    begin, end = span
    mine, their = _between(first.trades, begin, end), _between(other.trades, begin, end)
    equity_time = _equity_difference(first, other)
    same = 0
    for one, two in zip(mine, their):
        fields = tuple(name for name in _FIELDS if one[name] != two[name])
        if fields:
            return Divergence(same, one, two, fields, equity_time)
        same += 1
    if len(mine) != len(their):
        rest = (mine[same:] or [None])[0], (their[same:] or [None])[0]
        return Divergence(same, *rest, (), equity_time)
    return None if equity_time is None else Divergence(same, None, None, (), equity_time)


def is_identical(first: StoredRun, other: StoredRun) -> bool:
    """Return whether two runs have the same parameters, trades and equity, to the last bit."""
    summaries = [{k: v for k, v in run.summary.items() if k not in TIMINGS} for run in (first, other)]
    return (
        summaries[0] == summaries[1]
        and first.config == other.config
        and first.trades == other.trades
        and np.array_equal(first.times, other.times)
        and np.array_equal(first.equity, other.equity)
    )


def divergence_in_words(first: StoredRun, other: StoredRun) -> str:
    """Return one paragraph on where `other` differs from `first`."""
    a, b = first.name, other.name
    if is_identical(first, other):
        return f"{b}: identical to {a}: same parameters, trades, equity and figures"
    symbols = [run.summary.get("symbols", []) for run in (first, other)]
    if sorted(symbols[0]) != sorted(symbols[1]):
        mine, their = (", ".join(names) or "no symbol" for names in symbols)
        return f"{b}: trades {their}, {a} {mine}: not compared by trade"
    if _common_span(first, other) is None:
        return f"{b}: has no bar in common with {a}: not compared by trade"
    found = first_divergence(first, other)
    if found is None:
        return f"{b}: {_count_same(first, other)}.{_spans(first, other)}"
    since = f" Equity differs from {_moment(found.equity_time)} UTC on." if found.equity_time is not None else ""
    if not found.trades_differ:
        return f"{b}: {_count_same(first, other)}, but not the same equity.{since}{_spans(first, other)}"
    return f"{b}: {_trade_words(found, a, b)}{since}{_spans(first, other)}"


def plot_equity(runs: Sequence[StoredRun], path: Path) -> None:
    """Draw every run's return since its own start, and its drawdown, on one axis of time, into a PNG file."""
    with style.context("default"):
        figure = equity_figure(runs)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".png")
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                figure.savefig(file, dpi=100, format="png")
            os.replace(draft, path)
        except BaseException:
            draft.unlink()
            raise


def equity_figure(runs: Sequence[StoredRun]) -> Figure:
    """Return the chart of `plot_equity`."""
    figure = Figure(figsize=(12.0, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3.0, 1.2])
    for number, run in enumerate(runs):
        if not len(run.times):
            continue
        start = run.start_equity
        returns = 100.0 * (run.equity / start - 1.0)
        # The first is a broad band: what lies upon it stays visible, and so does it.
        looks = {"color": colour(CURVES[number % len(CURVES)]), "linewidth": 1.1} | (
            {"linewidth": 4, "alpha": 0.4} if number == 0 else {}
        )
        gain = signed(float(returns[-1]) / 100.0, "percent")
        label = f"{run.name}  {', '.join(run.summary.get('symbols', []))}  {gain}"
        _draw(top, run.times, returns, label=label, **looks)
        _draw(bottom, run.times, -100.0 * drawdowns(run.equity, start), **looks)
    top.axhline(0.0, color=colour("--muted"), linewidth=0.8)
    top.set_ylabel("return since its start, %")
    bottom.set_ylabel("drawdown, %")
    if top.get_legend_handles_labels()[0]:
        top.legend(loc="best", fontsize=9)
        locator = AutoDateLocator()
        bottom.xaxis.set_major_locator(locator)
        bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    return figure


def _draw(axis: Axes, times: NDArray[np.datetime64], values: Array, **looks: Any) -> None:
    """Draw a long curve by the first, lowest, highest and last point of each of a thousand spans."""
    if len(values) > 4_000:
        edges = np.linspace(0, len(values), 1_001).astype(int)
        points = {0, len(values) - 1}
        for begin, end in itertools.pairwise(edges):
            points |= {begin, begin + int(np.argmin(values[begin:end])), begin + int(np.argmax(values[begin:end]))}
        chosen = sorted(points)
        times, values = times[chosen], values[chosen]
    axis.plot(times, values, **looks)


# --- the words


def _trade_words(found: Divergence, a: str, b: str) -> str:
    if found.first is None or found.other is None:
        trade, longer, shorter = (found.first, a, b) if found.other is None else (found.other, b, a)
        return (
            f"first differs from {a} in trade {trade['number']} of {longer}, {_moment(trade['close_time'])} UTC: "
            f"{describe(trade)}; {shorter} closes none after {found.same:,} that are the same."
        )
    number, number_of_b = found.first["number"], found.other["number"]
    where = f"trade {number}" if number == number_of_b else f"trade {number} ({number_of_b} of {b})"
    time = min(found.first["close_time"], found.other["close_time"])
    head = f"first differs from {a} in {where}, {_moment(time)} UTC"
    if any(name in _IDENTITY for name in found.fields):
        return f"{head}: another trade. {a} closed {describe(found.first)}; {b} closed {describe(found.other)}."
    what = "; ".join(f"{_FIELDS[name]} {_against(found.other[name], found.first[name])}" for name in found.fields)
    trade = found.first
    opened = f"{trade['side']} {trade['symbol']} opened {_moment(trade['open_time'])}"
    return f"{head} ({opened}): {what}."


def describe(trade: Trade) -> str:
    """Return a trade in words."""
    return (
        f"{trade['side']} {_number(trade['qty'])} {trade['symbol']}, in at {_number(trade['entry'])} on "
        f"{_moment(trade['open_time'])}, out at {_number(trade['exit'])} on {_moment(trade['close_time'])} by "
        f"{trade['label']}, net {trade['net']:+,.2f}"
    )


def _against(value: Any, expected: Any) -> str:
    if isinstance(value, np.datetime64):
        return f"{_moment(value)}, not {_moment(expected)}"
    if isinstance(value, float):
        words = _number(value), _number(expected)
        return f"{words[0]}, not {words[1]}" if words[0] != words[1] else f"{value!r}, not {expected!r}"
    return f"{value}, not {expected}"


def _count_same(first: StoredRun, other: StoredRun) -> str:
    if not first.trades and not other.trades:
        return f"closes no trade, as {first.name}"
    return f"trades as {first.name} does while both last"


def _spans(first: StoredRun, other: StoredRun) -> str:
    """Return a sentence on the spans compared, where they are not the same."""
    begin, end = _common_span(first, other)
    if (begin, end) == (first.times[0], first.times[-1]) == (other.times[0], other.times[-1]):
        return ""
    return f" Compared from {_moment(begin)} to {_moment(end)} UTC, which both runs cover."


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _moment(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace("T", " ")


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"


# --- what is compared


def _between(trades: Sequence[Trade], begin: np.datetime64, end: np.datetime64) -> list[Trade]:
    chosen = [trade for trade in trades if begin <= trade["open_time"] and trade["close_time"] <= end]
    return sorted(chosen, key=lambda trade: (trade["close_time"], trade["symbol"]))


def _common_span(first: StoredRun, other: StoredRun) -> tuple[np.datetime64, np.datetime64] | None:
    if not len(first.times) or not len(other.times):
        return None
    begin, end = max(first.times[0], other.times[0]), min(first.times[-1], other.times[-1])
    return (begin, end) if begin <= end else None


def _equity_difference(first: StoredRun, other: StoredRun) -> np.datetime64 | None:
    if first.times[0] != other.times[0] or first.start_equity != other.start_equity:
        return None  # they differ from the start, which says nothing
    common, mine, their = np.intersect1d(first.times, other.times, assume_unique=True, return_indices=True)
    different = np.flatnonzero(first.equity[mine] != other.equity[their])
    return common[different[0]] if len(different) else None


# --- the files


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: damaged: {error}") from None
    if not isinstance(summary, dict):
        raise DataError(f"{path}: damaged: no table of figures")
    return summary


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: damaged: {error}") from None
