"""A run's result for a terminal of 80 columns: first what matters, on one screen; the tables where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridv4_bt.config import departure_line
from gridv4_bt.report.numbers import number, quote_of, words
from gridv4_bt.report.page_data import BLOCKED_WORDS
from gridv4_bt.report.sentences import made_and_lost, open_legs, tells_a_year, verdict

_Row = tuple[str, str]


def print_result(summary: dict[str, Any], console: Console, details: bool = False) -> None:
    """Print a run in one screen of 80 columns: result, key figures, what made and lost money, reasons to doubt.

    `details` adds all tables after it.
    """
    quote = quote_of(summary["symbols"])
    told = verdict(summary, quote)
    style = {"good": "bold green", "bad": "bold red"}.get(told["style"], "bold")
    share = f" [{style}]{told['share']}[/]" if told["share"] else ""
    if summary.get("liquidations"):
        console.print(f"[bold red]LIQUIDATED {summary['liquidations']}x: the exchange closed everything.[/]")
    console.print(f"[bold]{_title(summary)}[/]", highlight=False)
    console.print(f"{told['lead']}{share}{told['rest']}", highlight=False)
    console.print(_pairs(None, _first_rows(summary), _second_rows(summary)))
    for sentence in [*made_and_lost(summary), *(f"Still open: {text}" for text in open_legs(summary, quote))]:
        console.print(sentence, highlight=False)
    for flag in summary.get("flags") or ():
        console.print(f"[yellow]! {flag}[/]", highlight=False)
    if summary.get("departs_from_definition"):
        console.print(f"[yellow]{departure_line(summary['departs_from_definition'])}[/]", highlight=False)
    if details:
        _print_tables(summary, console)
    elif summary.get("by_intrabar"):
        console.print(_modes(summary))


def print_run_files(folder: Path, console: Console) -> None:
    """Print where the page, the list of closings and the figures are, as links where the terminal knows them."""
    for name, what in (("report.html", "page"), ("trades.csv", "closings"), ("summary.json", "all figures")):
        path = folder / name
        if path.exists():
            console.print(f"  {what:<12} [link={path.resolve().as_uri()}]{escape(str(path))}[/link]", soft_wrap=True)


def _first_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("return a year", _percent(summary["annual_return"] if tells_a_year(summary) else None)),
        ("largest drawdown", _percent(summary["max_drawdown"])),
        ("Sharpe", _ratio(summary["sharpe"])),
        ("longest below the high", _days(_find(summary, "recovery", "longest_days"))),
    ]


def _second_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("trades, of them won", f"{_count(summary.get('trades', 0))}, {_percent(summary.get('win_rate'))}"),
        ("profit factor", _ratio(summary.get("profit_factor"))),
        ("time in market", _percent(summary.get("time_in_market"))),
        ("highest margin ratio", _percent(summary.get("max_margin_ratio"))),
    ]


def _print_tables(summary: dict[str, Any], console: Console) -> None:
    console.print(_pairs("money and ratios", _money_rows(summary), _result_rows(summary)))
    console.print(_pairs("risk and exposure", _risk_rows(summary), _exposure_rows(summary)))
    if summary["trades"]:
        console.print(_pairs("trading", _grid_rows(summary), _activity_rows(summary)))
    if summary["by_label"]:
        sides = "by side, and by regime at entry" if summary["by_regime"] else "by side"
        console.print(_groups("closed by label", "closings", summary["by_label"]))
        console.print(_groups(sides, "trades", summary["by_side"], summary["by_regime"]))
    tables = (
        ("pruning", _pruning),
        ("levels", _levels),
        ("adverse_selection", _adverse),
        ("blocked", _blocked),
        ("by_intrabar", _modes),
    )
    for key, table in tables:
        if summary.get(key):
            console.print(table(summary))


def _title(summary: dict[str, Any]) -> str:
    first, last = (str(summary[key]).removesuffix(":00Z").replace("T", " ") for key in ("from", "to"))
    strategy = f"{summary['strategy']}   " if "strategy" in summary else ""
    return f"{strategy}{', '.join(summary['symbols'])}   {first} to {last}"


def _money_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("net return", _percent(summary["net_return"])),
        ("annual return", _percent(summary["annual_return"] if tells_a_year(summary) else None)),
        ("start equity", _money(summary["start_equity"])),
        ("end equity", _money(summary["end_equity"])),
        ("gross PnL", _money(summary["gross"])),
        ("fees", _money(summary["fees"])),
        ("funding paid", _money(summary["funding"])),
        ("unrealised", _money(summary["unrealized"])),
    ]


def _result_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("max drawdown", _percent(summary["max_drawdown"])),
        ("Sharpe", _ratio(summary["sharpe"])),
        ("Sortino", _ratio(summary["sortino"])),
        ("Calmar", _ratio(summary["calmar"] if tells_a_year(summary) else None)),
        ("Omega", _ratio(_find(summary, "risk", "omega"))),
        ("profit factor", _ratio(summary["profit_factor"])),
        ("win rate", _percent(summary["win_rate"])),
        ("bars", _count(summary["bars"])),
    ]


def _risk_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("worst day", _percent(_find(summary, "returns", "worst_day", "return"))),
        ("mean of worst 5 % of days", _percent(_negative(_find(summary, "risk", "expected_shortfall_5pct")))),
        ("months with a profit", _percent(_find(summary, "returns", "positive_months"))),
        ("longest below the high", _days(_find(summary, "recovery", "longest_days"))),
        ("below the high at the end", _days(_find(summary, "recovery", "current_days"))),
        ("mean time below the high", _days(_find(summary, "recovery", "mean_days"))),
    ]


def _exposure_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("time in market", _percent(summary["time_in_market"])),
        ("most LONG / equity", _percent(_find(summary, "exposure", "long", "max"))),
        ("most SHORT / equity", _percent(_find(summary, "exposure", "short", "max"))),
        ("mean when held", _percent(_find(summary, "exposure", "gross_when_held"))),
        ("highest margin ratio", _percent(summary["max_margin_ratio"])),
        ("nearest liquidation", _percent(summary["min_liquidation_distance"])),
        *_co_movement_rows(summary),
    ]


def _co_movement_rows(summary: dict[str, Any]) -> list[_Row]:
    """Return how alike the symbols' profits were, of several that traded."""
    alike = _find(summary, "co_movement", "profits")
    if not alike:
        return []
    effective = f"{alike['effective']:.1f} of {len(summary['symbols'])}"
    return [("correlation of profits", _ratio(alike["correlation"])), ("symbols that bet apart", effective)]


def _grid_rows(summary: dict[str, Any]) -> list[_Row]:
    fills = _find(summary, "activity", "fills_per_day")
    rows = [
        ("trades", _count(summary["trades"])),
        ("independent bets", _count(_find(summary, "co_movement", "bets"))),
        ("fills a day", _ratio(fills)),
    ]
    if summary.get("grid"):
        grid = summary["grid"]
        rows += [
            ("fills closed by their exit", _percent(grid["pairs_of_fills"])),
            ("profit of such a pair", _money(grid["pair_profit"])),
            ("profit of a fill, all in all", _money(grid["profit_of_fill"])),
        ]
    rows.append(("fees / gross profits", _percent(_find(summary, "costs", "fee_drag"))))
    if "halts" in summary:  # a grid
        rows.append(("funding / grid profits", _percent(_find(summary, "costs", "funding_of_grid_profit"))))
    return rows


def _activity_rows(summary: dict[str, Any]) -> list[_Row]:
    return [
        ("maker ratio", _percent(summary["maker_ratio"])),
        ("held, median", _hours(_find(summary, "holding", "all", "median"))),
        ("held, 95 % less than", _hours(_find(summary, "holding", "all", "p95"))),
        *((name, _count(summary[name])) for name in ("halts", "stops") if name in summary),
        ("liquidations", _count(summary["liquidations"])),
        ("uncertain bars", _count(summary["ambiguous_bars"])),
    ]


def _pairs(title: str | None, left: Sequence[_Row], right: Sequence[_Row]) -> Table:
    """Return a table of two columns of names and figures."""
    table = Table(title=title, show_header=False)
    for _ in range(2):
        table.add_column(style="dim")
        table.add_column(justify="right")
    for index in range(max(len(left), len(right))):
        cells = [rows[index] if index < len(rows) else ("", "") for rows in (left, right)]
        table.add_row(*cells[0], *cells[1])
    return table


def _groups(title: str, counted: str, *sections: dict[str, dict[str, float]]) -> Table:
    table = _columns(title, "", (counted, "win rate", "gross", "fees", "funding", "net"))
    for groups in sections:
        table.add_section()
        for name, group in sorted(groups.items(), key=lambda item: -item[1]["net"]):
            money = (_money(group[key]) for key in ("gross", "fees", "funding", "net"))
            table.add_row(name, _count(group["trades"]), _percent(group["win_rate"]), *money)
    return table


def _pruning(summary: dict[str, Any]) -> Table:
    title = "fills cut, and if held for another day (hindsight)"
    table = _columns(title, "cut by", ("closings", "net", "if held", "saved", "came back"))
    for name, cut in summary["pruning"].items():
        money = (_money(cut[key]) for key in ("net", "held", "saved"))
        table.add_row(name, _count(cut["trades"]), *money, _percent(cut["came_back"]))
    return table


def _levels(summary: dict[str, Any]) -> Table:
    levels = summary["levels"]
    names = ("LONG fills", "win rate", "net", "SHORT fills", "win rate", "net")
    table = _columns("by level of the ladder", "level", names)
    traded_levels = [int(name) for name, level in levels.items() if name != "other" and level["fills"]]
    for place in range(1, max(map(abs, traded_levels), default=0) + 1):
        cells: list[str] = []
        for name in (f"{-place:+d}", f"{place:+d}"):
            level = levels.get(name)
            traded = level is not None and level["fills"]
            cells += [_count(level["fills"]), _percent(level["win_rate"]), _money(level["net"])] if traded else [""] * 3
        table.add_row(str(place), *cells)
    return table


def _adverse(summary: dict[str, Any]) -> Table:
    title = "how far the price went on against the fill (minus: for it)"
    lags = [name for name in next(iter(summary["adverse_selection"].values())) if name != "fills"]
    heads = [f"after {lag.removeprefix('after_')} bar{'s' if lag != 'after_1' else ''}" for lag in lags]
    table = _columns(title, "", ("fills", *heads))
    for name, side in summary["adverse_selection"].items():
        table.add_row(name, _count(side["fills"]), *(_percent(side[lag]) for lag in lags))
    return table


def _blocked(summary: dict[str, Any]) -> Table:
    """Return a table of why levels had no order, and how often the market came to them meanwhile."""
    shares, came = summary.get("blocked_share", {}), _find(summary, "grid", "reached") or {}
    table = _columns("levels without an order", "reason", ("levels x bars", "share", "price came there"))
    for reason, count in sorted(summary["blocked"].items(), key=lambda item: -item[1]):
        why = BLOCKED_WORDS.get(reason.upper(), words(reason))
        table.add_row(why, _count(count), _percent(shares.get(reason)), _count(came.get(reason, 0)))
    table.add_row("[dim]with an order[/]", "", _percent(shares.get("placed")), _count(came.get("placed", 0)))
    return table


def _modes(summary: dict[str, Any]) -> Table:
    modes = summary["by_intrabar"]
    table = _columns("how much hangs on the unknown inside of the bars", "", modes)
    rows: Iterable[tuple[str, str, Callable[[Any], str]]] = (
        ("net return", "net_return", _percent), ("end equity", "end_equity", _money),
        ("max drawdown", "max_drawdown", _percent), ("gross PnL", "gross", _money), ("fees", "fees", _money),
        ("trades", "trades", _count), ("at the exit", "grid", _count), ("by stop 1", "stop1", _count),
        ("by stop 2", "stop2", _count), ("by liquidation", "liquidation", _count),
        ("bars of uncertain order", "ambiguous_bars", _count), ("share of all bars", "ambiguous_share", _percent),
    )  # fmt: skip
    for title, key, text in rows:
        table.add_row(title, *(text(figures[key]) for figures in modes.values()))
    return table


def _columns(title: str, first: str, names: Iterable[str]) -> Table:
    table = Table(first, title=title)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _find(summary: dict[str, Any], *path: str) -> Any:
    """Return a nested figure of the summary, None where the run has none."""
    found: Any = summary
    for name in path:
        found = (found or {}).get(name)
    return found


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


_count, _percent, _money, _ratio, _days, _hours = (
    partial(number, kind=kind) for kind in ("count", "percent", "money", "ratio", "days", "hours")
)
