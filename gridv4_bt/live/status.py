"""The display of a running session: a screen on a terminal, otherwise a line a bar; and where its log lines go."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import moment
from gridv4_bt.live.runner import Session
from gridv4_bt.report.numbers import number

logger = logging.getLogger("gridv4.live")
_WIDTH = 90  #: of the screen, where the terminal is as wide: one that follows its texts would jump


def log_handler(console: Console) -> logging.Handler:
    """Return what writes the session's log: lines above the screen on a terminal, plain lines to stderr elsewhere.

    A line written to the terminal past the console would lie across the screen, and be drawn over.
    """
    if console.is_terminal and sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=console, show_path=False, omit_repeated_times=False, log_time_format="%Y-%m-%d %H:%M:%S",
            highlighter=None, keywords=[],
        )  # fmt: skip
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


@contextmanager
def status_display(console: Console) -> Iterator[Callable[[Session, str], None]]:
    """Yield a function that displays a session after each bar.

    The thread that writes the log draws the screen too: rich measures what it has to erase before it writes, and a
    line written by another thread in between would be erased.
    """
    if not console.is_terminal or console.quiet:
        yield _line
        return
    with Live(console=console, auto_refresh=False) as screen:
        yield lambda session, symbol: screen.update(_screen(session, min(_WIDTH, console.width)), refresh=True)


def _line(session: Session, symbol: str) -> None:
    f = session.monitor.figures
    regime = Regime(int(f["regime"])).name if session.plan.grid else ""
    logger.info(
        "%s %s equity %.2f wallet %.2f long %g short %g orders %d margin %.3f %s%s",
        symbol, moment(int(1000 * f["bar_time_seconds"])), f["equity"], f["wallet"], f["long_qty"], f["short_qty"],
        f["resting_orders"], f["margin_ratio"], regime, " HALTED" if f["halted"] else "",
    )  # fmt: skip


def _screen(session: Session, width: int) -> Table:
    f = session.monitor.figures
    own = session.plan.own
    title = f"{own.name if own else 'GridStrategyV4'} on {session.gateway.name}"
    table = Table(title=title, show_header=False, width=width, expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    rows = {
        "bar": f"{moment(int(1000 * f['bar_time_seconds']))} UTC, {session.bars:,} decided",
        "equity": f"{f['equity']:,.2f} USDT, wallet {f['wallet']:,.2f}, drawdown {number(f['drawdown'], 'percent')}",
        **({"regime": Regime(int(f["regime"])).name + (" (halted)" if f["halted"] else "")} if own is None else {}),
        "margin": f"ratio {number(f['margin_ratio'], 'percent')}, {_liquidation(f['liquidation_distance'])}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    for book in session.broker.books:
        for leg in book.legs:
            held = f"{leg.tracker.qty:g} at {leg.tracker.average:,.6g}" if leg.tracker.ids else "flat"
            stop = f"{leg.stop:,.6g}" if leg.stop is not None else "none"
            text = f"{held}; fills {len(leg.tracker)}, entries {leg.entry_count}, exits {len(leg.exits)}, stop {stop}"
            table.add_row(f"{book.symbol} {leg.side.name}", text)
    connection = session.connection
    table.add_row("requests", f"{connection.calls:,}, failed {connection.failures:,}, weight {connection.weight}")
    table.add_row("alerts", f"{session.monitor.alerts}")
    return table


def _liquidation(distance: float) -> str:
    if distance == float("inf"):
        return "no liquidation price"
    return f"liquidation price {number(distance, 'percent')} away"
