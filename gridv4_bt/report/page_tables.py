"""The tables of a page as rows of cells; the templates alone know HTML."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridv4_bt.config import GridConfig, all_parameters, parameter_of
from gridv4_bt.core.time import DAY_MS, HOUR_MS, moment
from gridv4_bt.engine.labels import LABELS, TradeLabel
from gridv4_bt.metrics.performance import daily_returns, drawdowns, period_returns, rolling_returns, spells
from gridv4_bt.metrics.summary import wallet_curve
from gridv4_bt.metrics.trading import collect, totals, whole_trades
from gridv4_bt.own_strategy import StrategyValues
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report import known_figures as known
from gridv4_bt.report.numbers import DASH, MINUS, number, sign_of, signed, words
from gridv4_bt.report.page_data import BLOCKED_WORDS
from gridv4_bt.report.sentences import find, tells_a_year

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DEEPEST = 5
ROLLING = (30, 90, 365)  #: days
#: Bars of a histogram.
BINS = 24


@dataclass(frozen=True)
class Cell:
    """One cell: its text, its style, and what it says on hover."""

    text: str
    style: str = ""
    title: str = ""
    shade: float = 0.0  #: -1 to 1: how strongly a loss or a gain colours the ground


@dataclass(frozen=True)
class Table:
    """A table with a head of columns and rows that begin with a name."""

    title: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    style: str = ""  #: heat, pairs or ""
    bars: Sequence[float] = field(default=())  #: -1 to 1 for each row: a bar of gain or loss behind it


@dataclass(frozen=True)
class Histogram:
    """Counts of values in equal bins."""

    title: str
    kind: str  #: of `gridv4_bt.report.numbers.number`
    edges: Sequence[float]
    counts: Sequence[int]
    note: str = ""

    @property
    def most(self) -> int:
        """The largest count."""
        return max(self.counts, default=0)

    @property
    def spans(self) -> list[tuple[str, int, str]]:
        """The words, count and style (gain or loss) of each bin."""
        edges = [number(edge, self.kind) for edge in self.edges]
        return [
            (f"{edges[place]} to {edges[place + 1]}", count, sign_of(self.edges[place] + self.edges[place + 1]))
            for place, count in enumerate(self.counts)
        ]


# --- the result


def compared(summary: Mapping[str, Any]) -> Table:
    """Return the result beside the benchmarks: holding with the whole wallet and with the run's mean exposure."""
    marks = summary.get("benchmark") or {}
    columns = [("this run", summary | {"volatility": find(summary, "risk.volatility")}, "Unrealised profit included.")]
    if "hold" in marks:
        meaning = "The wallet buys all symbols in equal parts at the first close, pays one taker fee and never sells."
        columns.append(("buy and hold, 1×", marks["hold"], meaning))
    if "hold_same_exposure" in marks:
        share = number(marks["hold_same_exposure"]["exposure"], "percent")
        meaning = f"The same, but only with this run's mean exposure: {share} of the wallet."
        columns.append(("hold, same exposure", marks["hold_same_exposure"], meaning))
    head = [Cell(""), *(Cell(name, "", meaning) for name, _, meaning in columns)]
    rows = [
        [
            Cell(name, "", meaning),
            *(
                Cell(number(values.get(key), kind), sign_of(values.get(key)) if key == "net_return" else "")
                for _, values, _ in columns
            ),
        ]
        for key, name, kind, meaning in known.COMPARED
        if tells_a_year(summary) or key not in known.OF_A_YEAR
    ]
    changes = (f"{name} {signed(change, 'percent')}" for name, change in (marks.get("symbols") or {}).items())
    note = f"Prices from the first traded close to the last: {', '.join(changes)}." if marks.get("symbols") else ""
    return Table("Against buying and holding", head, rows, note)


def legs(summary: Mapping[str, Any]) -> Table | None:
    """Return the profit of each leg in parts that add up, and their sum; None if nothing was traded."""
    found = summary.get("legs") or {}
    if not found:
        return None
    head = [Cell("leg"), *(Cell(name, "", meaning) for _, name, _, meaning in known.LEG)]
    rows = [_row(name, leg, known.LEG, ("total",)) for name, leg in found.items()]
    if len(found) > 1:
        summed = {
            key: math.fsum(leg[key] for leg in found.values()) for key, _, kind, _ in known.LEG if kind == "money"
        }
        summed |= {"trades": sum(leg["trades"] for leg in found.values()), "win_rate": summary.get("win_rate")}
        rows.append([Cell(cell.text, f"{cell.style} total") for cell in _row("all", summed, known.LEG, ("total",))])
    return Table(
        "Profit of each leg, in parts that add up", head, rows, bars=_bars([leg["total"] for leg in found.values()])
    )


def cap_breaches(records: Sequence[SymbolRecord], config: GridConfig) -> list[str]:
    """Return a sentence for each leg whose notional was above `max_inventory` times the equity at a close.

    The strategy adds nothing beyond the cap; what it holds may grow beyond it when the price or the equity moves.
    """
    found = []
    for record in records:
        equity, cap = record.column("equity"), config.of(record.symbol).max_inventory
        if not len(record.close) or len(record.close) != len(equity):
            continue
        for side in ("long", "short"):
            worth = record.column(f"{side}_qty") * record.close
            share = np.divide(worth, equity, out=np.zeros(len(equity)), where=equity > 0.0)
            if share.max(initial=0.0) > cap * (1.0 + 1e-9):
                most, when = number(float(share.max()), "percent"), moment(int(record.column("time")[share.argmax()]))
                found.append(
                    f"Exposure: {record.symbol} {side.upper()} reached {most} of the equity at {when}, "
                    f"above its cap of {number(cap, 'percent')}."
                )
    return found


# --- days, months, years


def months(records: Sequence[SymbolRecord], start_equity: float) -> Table | None:
    """Return the return of every month as a heat map, years as rows; None if no bar was traded."""
    returns = monthly_returns(records, start_equity)
    if not returns:
        return None
    strongest = max(abs(value) for value in returns.values()) or 1.0
    rows = []
    for year in range(min(returns)[0], max(returns)[0] + 1):
        cells, whole = [Cell(str(year))], 1.0
        for month in range(1, 13):
            value = returns.get((year, month))
            whole *= 1.0 + (value or 0.0)
            shade = 0.0 if value is None else value / strongest
            cells.append(Cell("" if value is None else number(value, "percent"), "", MONTHS[month - 1], shade))
        cells.append(Cell(number(whole - 1.0, "percent"), f"total {sign_of(whole - 1.0)}", "year"))
        rows.append(cells)
    head = [Cell(name) for name in ("year", *MONTHS, "year's return")]
    return Table("Return of each month (UTC), unrealised profit included", head, rows, style="heat")


def monthly_returns(records: Sequence[SymbolRecord], start_equity: float) -> dict[tuple[int, int], float]:
    """Return the wallet's return by (year, month), from the last bar of the month before to its own last bar."""
    named = period_returns(*_curve(records), start_equity, "M")
    return {(int(month[:4]), int(month[5:])): change for month, change in named.items()}


def falls(records: Sequence[SymbolRecord], start_equity: float) -> Table | None:
    """Return the deepest drawdowns: from when, how deep, how long until the old height was reached again."""
    times, equity = _curve(records)
    found = sorted(deepest_falls(times, equity, start_equity), key=lambda fall: -fall[3])[:DEEPEST]
    if not found:
        return None
    rows = []
    for first, lowest, end, depth in found:
        over = end is not None
        lasted = times[end if over else -1] - times[first]
        rows.append(
            [
                Cell(_day(times[first])),
                Cell(number(depth, "percent")),
                Cell(_day(times[lowest])),
                Cell(_day(times[end]) if over else "not yet"),
                Cell(number(lasted / DAY_MS, "days") if lasted >= 2 * DAY_MS else number(lasted / HOUR_MS, "hours")),
            ]
        )
    head = [Cell(name) for name in ("began", "depth", "lowest", "made good", "lasted")]
    return Table("Deepest drawdowns of the equity, unrealised losses included", head, rows)


def rolling(records: Sequence[SymbolRecord], start_equity: float) -> Table | None:
    """Return what any 30, 90 and 365 days of the run returned; None if it had fewer than twice 30."""
    _, daily = daily_returns(*_curve(records), start_equity)
    rows = []
    for days in ROLLING:
        if len(daily) < 2 * days:
            continue
        found = rolling_returns(daily, days)
        marks = [*np.quantile(found, (0.0, 0.05, 0.5, 0.95, 1.0)).tolist(), float(np.mean(found > 0.0))]
        rows.append([Cell(f"{days} days"), *(Cell(number(one, "percent")) for one in marks)])
    names = ("worst", "5 % below", "median", "95 % below", "best", "with a gain")
    head = [Cell("length"), *(Cell(name) for name in names)]
    return Table("Return of any 30, 90 and 365 days on end", head, rows) if rows else None


def deepest_falls(
    times: np.ndarray, equity: np.ndarray, start_equity: float
) -> list[tuple[int, int, int | None, float]]:
    """Return every spell below an earlier height: its first bar, its lowest, the first one after it, and its depth."""
    if not len(times):
        return []
    depth = drawdowns(equity, start_equity)
    starts, ends = spells(depth > 1e-12)
    return [
        (
            int(first),
            int(first + np.argmax(depth[first:end])),
            int(end) if end < len(times) else None,
            float(depth[first:end].max()),
        )
        for first, end in zip(starts, ends, strict=True)
    ]


def _curve(records: Sequence[SymbolRecord]) -> tuple[np.ndarray, np.ndarray]:
    return wallet_curve(records) if records else (np.empty(0), np.empty(0))


def _day(time_ms: float) -> str:
    return str(np.datetime64(int(time_ms), "ms").astype("datetime64[D]"))


# --- trades


def grouped_trades(summary: Mapping[str, Any], records: Sequence[SymbolRecord]) -> list[Table]:
    """Return the trades by label, side, symbol, regime, level, year and month, where there is more than one of them."""
    trades = whole_trades(trade for record in records for trade in record.trades)
    meanings = {str(label): label.meaning for label in LABELS}
    labels = {words(name): meanings.get(name, "") for name in summary.get("by_label") or {}}
    named = {words(name): group for name, group in (summary.get("by_label") or {}).items()}
    every = (summary.get("levels") or {}).items()
    levels = {name.replace("-", MINUS): level for name, level in every if level["trades"] or level["fills"]}
    # Parts of one fill may have several labels, so by label closings are counted.
    closings = [("trades", "closings", "count", "Parts of a fill count one by one."), *known.TRADED[1:]]
    reached = [
        ("reached", "reached", "count", "How often the market came to the level, with an order there or without."),
        ("fills", "entries", "count", "Entries that filled there, those still open too."),
        *known.TRADED,
        ("mean_hours", "mean held", "hours", "From the entry to its last closing."),
    ]
    if list(summary.get("by_label") or {}) == [TradeLabel.MANUAL]:  # a strategy without a grid: it says nothing
        named = {}
    found = [
        _groups("By reason of closing", named, closings, meanings=labels),
        _groups("By side", _sides(summary.get("by_side") or {}), known.TRADED),
        _groups("By symbol", _collected(trades, lambda trade: trade.symbol), known.TRADED),
        _groups("By regime at entry", _named(summary.get("by_regime") or {}), known.TRADED),
        _groups("By level of the ladder (−: LONG)", levels, reached, ordered=False),
        _groups(
            "By year of closing",
            _collected(trades, lambda trade: _day(trade.close_time)[:4]),
            known.TRADED,
            ordered=False,
        ),
        _groups(
            "By month of closing",
            _collected(trades, lambda trade: _day(trade.close_time)[:7]),
            known.TRADED,
            ordered=False,
        ),
    ]
    many = {"By symbol", "By year of closing"}
    return [table for table in found if table and (table.title not in many or len(table.rows) > 1)]


def _sides(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return groups by positionSide under its names; one of both sides keeps its own."""
    return {name.upper() if name in ("long", "short") else name: group for name, group in groups.items()}


def _named(groups: Mapping[str, Any]) -> dict[str, Any]:
    return {words(name).lower(): group for name, group in groups.items()}


def _collected(trades: Sequence[Any], key: Callable[[Any], str]) -> dict[str, Any]:
    return {name: totals(group) for name, group in collect(trades, key).items()}


def _groups(
    title: str,
    groups: Mapping[str, Mapping[str, Any]],
    columns: Sequence[tuple[str, str, str, str]],
    meanings: Mapping[str, str] | None = None,
    ordered: bool = True,
) -> Table | None:
    if not groups:
        return None
    items = sorted(groups.items(), key=lambda item: -item[1]["net"]) if ordered else list(groups.items())
    columns = [column for column in columns if any(column[0] in group for group in groups.values())]
    head = [Cell(""), *(Cell(name, "", meaning) for _, name, _, meaning in columns)]
    rows = [_row(name, group, columns, ("net",), (meanings or {}).get(name, "")) for name, group in items]
    return Table(title, head, rows, bars=_bars([group["net"] for _, group in items]))


def _row(
    name: str,
    values: Mapping[str, Any],
    columns: Iterable[tuple[str, str, str, str]],
    signed: Sequence[str],
    title: str = "",
) -> list[Cell]:
    cells = (
        Cell(number(values.get(key), kind), sign_of(values.get(key)) if key in signed else "")
        for key, _, kind, _ in columns
    )
    return [Cell(name, "", title), *cells]


def _bars(values: Sequence[float]) -> list[float]:
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    return [value / largest for value in values]


def cycles(summary: Mapping[str, Any]) -> Table | None:
    """Return the cycles by the deepest level that filled in them."""
    groups = find(summary, "cycles.by_deepest")
    columns = (
        ("cycles", "cycles", "count", "Legs from their first fill until flat."),
        ("fills", "entries", "count", "Entries in these cycles."),
        ("win_rate", "won", "percent", "Share with a profit after fees and funding."),
        ("mean_hours", "mean length", "hours", "One still open counts to the end of the run."),
        ("net", "net", "money", "Of their closings."),
    )
    return _groups("Cycles by the deepest level that filled", groups or {}, columns, ordered=False)


def excursions(summary: Mapping[str, Any]) -> Table | None:
    """Return how far the price went against the fills and for them."""
    found = summary.get("excursions") or {}
    names = ("mean", "median", "p95", "max")
    lines = [
        [Cell(name, "", meaning), *(Cell(number(found[key][one], kind)) for one in names)]
        for key, name, kind, meaning in known.EXCURSION
        if key in found
    ]
    head = [Cell(name) for name in ("", "mean", "median", "95 % below", "largest")]
    return Table("How far the price went against fills and for them", head, lines) if lines else None


def histograms(records: Sequence[SymbolRecord], adverse: np.ndarray, cycles: np.ndarray) -> list[Histogram]:
    """Return the distributions of trades' returns and holding times, fills' worst losses, and cycles' profits.

    `adverse` is the MAE of every fill as a fraction of the wallet, `cycles` the net of every cycle, quote.
    """
    trades = whole_trades(trade for record in records for trade in record.trades)
    returns = np.array([trade.net / (trade.entry * trade.qty) for trade in trades])
    hours = np.array([(trade.close_time - trade.open_time) / HOUR_MS for trade in trades])
    found = [
        _histogram("Return of a trade, of its entry notional", "percent", returns),
        _histogram("Holding time of a trade", "hours", hours),
        _histogram("Profit of a cycle", "money", cycles),
        _histogram("Worst unrealised loss of a fill (MAE), of the wallet", "percent", adverse[np.isfinite(adverse)]),
    ]
    return [one for one in found if one]


def _histogram(title: str, kind: str, values: np.ndarray) -> Histogram | None:
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if low < 0.0 < high:  # no bin holds gains and losses
        step = (high - low) / (BINS - 1)
        edges = step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)
    else:
        low = min(low, 0.0) if high > 0.0 else low  # what is never negative is counted from zero
        edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts, _ = np.histogram(values, edges)
    note = f"{len(values):,} in all, median {number(float(np.median(values)), kind)}"
    return Histogram(title, kind, edges.tolist(), counts.tolist(), note)


# --- how it traded


def execution(summary: Mapping[str, Any]) -> list[Table]:
    """Return how the price went on after entries, what cuts were worth, why levels had no order, intrabar modes."""
    tables = [_adverse(summary), _pruning(summary), _blocked(summary), _modes(summary)]
    return [table for table in tables if table]


def _adverse(summary: Mapping[str, Any]) -> Table | None:
    sides = _sides(summary.get("adverse_selection") or {})
    lags = [key for key in next(iter(sides.values()), {}) if key != "fills"]
    title = "Mean move against the entry after its bar; minus: for it. Who fills a resting order hopes for more."
    bars = [key.removeprefix("after_") for key in lags]
    head = [Cell(""), Cell("entries"), *(Cell(f"{n} bar{'s' if n != '1' else ''} later", "", title) for n in bars)]
    rows = [
        [Cell(name), Cell(number(side["fills"], "count")), *(Cell(number(side[lag], "percent")) for lag in lags)]
        for name, side in sides.items()
    ]
    return Table("How the price went on after an entry (minus: for the fill)", head, rows) if rows else None


def _pruning(summary: Mapping[str, Any]) -> Table | None:
    meanings = {str(label): label.meaning for label in LABELS}
    groups = summary.get("pruning") or {}
    rows = [_row(words(name), cut, known.PRUNED, ("saved",), meanings.get(name, "")) for name, cut in groups.items()]
    head = [Cell("cut by"), *(Cell(name, "", meaning) for _, name, _, meaning in known.PRUNED)]
    return Table("Fills cut, and what holding them another day had made (hindsight)", head, rows) if rows else None


def _blocked(summary: Mapping[str, Any]) -> Table | None:
    counts, shares = summary.get("blocked") or {}, summary.get("blocked_share") or {}
    came = find(summary, "grid.reached") or {}
    head = [
        Cell("why"),
        Cell("levels × bars", "", "How often a level had no order for this reason, counted at every bar."),
        Cell("share", "", "Of all levels times bars."),
        Cell("price came there", "", "How often the market came to the level meanwhile."),
    ]
    rows = [
        [
            Cell(BLOCKED_WORDS.get(name.upper(), words(name))),
            *(
                Cell(text)
                for text in (
                    number(count, "count"),
                    number(shares.get(name), "percent"),
                    number(came.get(name, 0), "count"),
                )
            ),
        ]
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    if rows:
        placed = (DASH, number(shares.get("placed"), "percent"), number(came.get("placed", 0), "count"))
        rows.append([Cell("with an order"), *(Cell(text) for text in placed)])
    return Table("Levels without an order", head, rows) if rows else None


def _modes(summary: Mapping[str, Any]) -> Table | None:
    modes = summary.get("by_intrabar") or {}
    names = list(dict.fromkeys(key for figures in modes.values() for key in figures))
    kinds = {
        "net_return": "percent",
        "max_drawdown": "percent",
        "ambiguous_share": "percent",
        "end_equity": "money",
        "gross": "money",
        "fees": "money",
    }
    rows = [
        [Cell(words(key)), *(Cell(number(figures.get(key), kinds.get(key, "count"))) for figures in modes.values())]
        for key in names
    ]
    head = [Cell(""), *(Cell(name) for name in modes)]
    return Table("How much hangs on the unknown inside of bars", head, rows) if rows else None


# --- all figures


def sections(summary: Mapping[str, Any], tab: str) -> list[Table]:
    """Return the tables of known figures of a tab; those the run has not are left out."""
    found = []
    for section in known.TABS[tab]:
        rows = [
            [Cell(one.name, "", one.meaning), Cell(number(value, one.kind))]
            for one in known.FIGURES
            if one.section == section and (value := find(summary, one.path)) is not None
        ]
        if rows:
            found.append(Table(section, (), rows, style="pairs"))
    return found


def others(summary: Mapping[str, Any]) -> Table | None:
    """Return whatever else the summary holds, under its own keys."""
    shown = {one.path for one in known.FIGURES} | known.ELSEWHERE
    rows = [
        [Cell(words(path)), Cell(number(value), "text")]
        for path, value in _flat(summary)
        if not any(path == one or path.startswith(f"{one}.") for one in shown)
    ]
    return Table("Further figures", (), rows, style="pairs") if rows else None


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, inner in values.items():
        path = f"{before}{key}"
        listed = isinstance(inner, (list, tuple)) and any(isinstance(item, Mapping) for item in inner)
        value = {str(place): item for place, item in enumerate(inner, 1)} if listed else inner
        if isinstance(value, Mapping):
            found += _flat(value, f"{path}.")
        elif isinstance(value, (list, tuple)):
            found.append((path, ", ".join(map(number, value)) or DASH))
        else:
            found.append((path, value))
    return found


def notes(summary: Mapping[str, Any]) -> list[Table]:
    """Return the exchange's rules used and the warnings of the run."""
    rules = [[Cell(name), Cell(str(text), "text")] for name, text in (summary.get("rules") or {}).items()]
    warnings = [
        [Cell(words(name)), Cell(number(count, "count"))] for name, count in (summary.get("warnings") or {}).items()
    ]
    tables = (
        Table("The exchange's rules used", (), rows=rules, style="pairs"),
        Table("Warnings", (), rows=warnings, style="pairs"),
    )
    return [table for table in tables if table.rows]


def own_parameters(own: StrategyValues) -> Table:
    """Return the parameters of a strategy of the user's own."""
    rows = [[Cell(name, "code"), Cell(f"{value}")] for name, value in own.params.items()]
    return Table(f"{own.name}, {own.source}", [Cell("parameter"), Cell("value")], rows)


def parameters(config: GridConfig, names: Iterable[str] = ()) -> tuple[Table | None, Table]:
    """Return the parameters that differ from their default, None if there is none, and the others.

    Only those named; all if none are.
    """
    changed, rest = [], []
    values = all_parameters(config)
    for name in names or values:
        description = GridConfig.model_fields[parameter_of(name)]
        value = values[name]
        extra = description.json_schema_extra or {}
        unit, meaning = str(extra.get("unit", "")), description.description or ""
        if value == description.default:
            rest.append([Cell(name, "code"), Cell(f"{value}"), Cell(unit, "text"), Cell(meaning, "text")])
        else:
            cells = (Cell(f"{value}"), Cell(f"{description.default}"), Cell(unit, "text"), Cell(meaning, "text"))
            changed.append([Cell(name, "code"), *cells])
    head = [Cell("parameter"), Cell("value"), Cell("unit", "text"), Cell("meaning", "text")]
    wide = [*head[:2], Cell("default"), *head[2:]]
    return (Table("Changed from the default", wide, changed) if changed else None), Table("At the default", head, rest)
