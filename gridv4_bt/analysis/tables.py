"""A run's result as tables for a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def print_result(summary: dict[str, Any], console: Console) -> None:
    """Print the figures of a run, what it traded by label, side and regime, and why orders were missing."""
    console.print(_overview(summary))
    for key, title in (("by_label", "closed by label"), ("by_side", "by side"), ("by_regime", "by regime at entry")):
        if summary[key]:
            console.print(_groups(summary[key], title))
    if summary["blocked"]:
        console.print(_blocked(summary["blocked"]))
    if "by_intrabar" in summary:
        console.print(_modes(summary["by_intrabar"]))
    if summary["liquidations"]:
        console.print(
            f"[bold red]LIQUIDATED {summary['liquidations']}x: the exchange closed everything. "
            "Every figure above includes the loss.[/]"
        )


def _overview(summary: dict[str, Any]) -> Table:
    table = Table(title=f"{', '.join(summary['symbols'])}   {summary['from']} to {summary['to']}", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = (
        ("net return", _percent(summary["net_return"]), "max drawdown", _percent(summary["max_drawdown"])),
        ("annual return", _percent(summary["annual_return"]), "Sharpe", _ratio(summary["sharpe"])),
        ("start equity", _money(summary["start_equity"]), "Sortino", _ratio(summary["sortino"])),
        ("end equity", _money(summary["end_equity"]), "Calmar", _ratio(summary["calmar"])),
        ("gross PnL", _money(summary["gross"]), "trades", f"{summary['trades']:,}"),
        ("fees", _money(summary["fees"]), "win rate", _percent(summary["win_rate"])),
        ("funding paid", _money(summary["funding"]), "profit factor", _ratio(summary["profit_factor"])),
        ("unrealised", _money(summary["unrealized"]), "maker ratio", _percent(summary["maker_ratio"])),
        ("halts", f"{summary['halts']:,}", "time in market", _percent(summary["time_in_market"])),
        ("stops", f"{summary['stops']:,}", "highest margin ratio", _percent(summary["max_margin_ratio"])),
        ("bars", f"{summary['bars']:,}", "nearest liquidation", _percent(summary["min_liquidation_distance"])),
        ("liquidations", f"{summary['liquidations']:,}", "bars of uncertain order", f"{summary['ambiguous_bars']:,}"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _groups(groups: dict[str, dict[str, float]], title: str) -> Table:
    table = Table("", title=title)
    for name in ("trades", "win rate", "gross", "fees", "funding", "net"):
        table.add_column(name, justify="right")
    for name, group in sorted(groups.items(), key=lambda item: -item[1]["net"]):
        table.add_row(
            name,
            f"{int(group['trades']):,}",
            _percent(group["win_rate"]),
            *(_money(group[key]) for key in ("gross", "fees", "funding", "net")),
        )
    return table


def _blocked(blocked: dict[str, int]) -> Table:
    table = Table("reason", title="levels without an order (levels x bars)")
    table.add_column("count", justify="right")
    for reason, count in sorted(blocked.items(), key=lambda item: -item[1]):
        table.add_row(reason, f"{count:,}")
    return table


def _modes(modes: dict[str, dict[str, Any]]) -> Table:
    table = Table("", title="how much hangs on the unknown inside of the bars")
    for name in modes:
        table.add_column(name, justify="right")
    rows = (
        ("net return", "net_return", _percent), ("end equity", "end_equity", _money),
        ("max drawdown", "max_drawdown", _percent), ("gross PnL", "gross", _money), ("fees", "fees", _money),
        ("closings", "trades", _count), ("at the exit", "grid", _count), ("by stop 1", "stop1", _count),
        ("by stop 2", "stop2", _count), ("by liquidation", "liquidation", _count),
        ("bars of uncertain order", "ambiguous_bars", _count), ("share of all bars", "ambiguous_share", _percent),
    )  # fmt: skip
    for title, key, text in rows:
        table.add_row(title, *(text(figures[key]) for figures in modes.values()))
    return table


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _money(value: float) -> str:
    return f"{value:,.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
