"""The display of a running session: a screen on a terminal, otherwise a line a bar."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import moment
from gridv4_bt.live.runner import Session

logger = logging.getLogger("gridv4.live")
_EVERY_S = 0.25


@contextmanager
def status_display(console: Console) -> Iterator[Callable[[Session, str], None]]:
    """Yield a function that displays a session after each bar."""
    if not console.is_terminal or console.quiet:
        yield _line
        return
    with Live(console=console, refresh_per_second=1.0 / _EVERY_S) as screen:
        yield lambda session, symbol: screen.update(_screen(session))


def _line(session: Session, symbol: str) -> None:
    f = session.monitor.figures
    logger.info(
        "%s %s equity %.2f wallet %.2f long %g short %g orders %d margin %.3f %s%s",
        symbol, moment(int(1000 * f["bar_time_seconds"])), f["equity"], f["wallet"], f["long_qty"], f["short_qty"],
        f["resting_orders"], f["margin_ratio"], Regime(int(f["regime"])).name, " HALTED" if f["halted"] else "",
    )  # fmt: skip


def _screen(session: Session) -> Table:
    f = session.monitor.figures
    table = Table(title=f"GridStrategyV4 on {session.gateway.name}", show_header=False, min_width=64)
    rows = {
        "bar": f"{moment(int(1000 * f['bar_time_seconds']))} UTC, {session.bars:,} decided",
        "equity": f"{f['equity']:,.2f} USDT, wallet {f['wallet']:,.2f}, drawdown {f['drawdown']:.1%}",
        "regime": Regime(int(f["regime"])).name + (" (halted)" if f["halted"] else ""),
        "margin": f"ratio {f['margin_ratio']:.3f}, liquidation {_percent(f['liquidation_distance'])} away",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    for book in session.broker.books:
        for leg in book.legs:
            held = f"{leg.tracker.qty:g} at {leg.tracker.average:,.6g}" if leg.tracker.ids else "flat"
            stop = f"{leg.stop:,.6g}" if leg.stop is not None else "none"
            text = f"{held}, {len(leg.tracker)} fills, {leg.entry_count} entries, {len(leg.exits)} exits, stop {stop}"
            table.add_row(f"{book.symbol} {leg.side.name}", text)
    connection = session.connection
    table.add_row("requests", f"{connection.calls:,}, failed {connection.failures:,}, weight {connection.weight}")
    table.add_row("alerts", f"{session.monitor.alerts}")
    return table


def _percent(distance: float) -> str:
    return "infinitely far" if distance == float("inf") else f"{distance:.1%}"
