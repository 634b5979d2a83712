"""The command line of `gridv4 audit`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridv4_bt.cli.common import Json, check_picture, print_json
from gridv4_bt.cli.market_options import print_notes
from gridv4_bt.cli.options import Quiet
from gridv4_bt.errors import ConfigError

if TYPE_CHECKING:  # importing ccxt takes a second, which no other command needs
    from gridv4_bt.audit.audit import Audit

DRIFTED = 1  #: exit code
_NAME = "audit.png"


def run_audit(
    state_dir: Annotated[Path, typer.Option(help="The --state-dir of run_live.py; the bot may be at work in it.")],
    max_drift: Annotated[
        float, typer.Option(help="Most that live and backtest equity may differ at any bar, fraction of start equity.")
    ] = 0.01,
    out: Annotated[
        Path | None,
        typer.Option(help="Picture, FILE.png, with the differences beside it in FILE.csv; default DIR/audit.png."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Replay what a live or paper session lived through as a backtest and line the two up fill by fill.

    Every difference gets the name of its cause where the session's records tell it: partial_fill, post_only_reject,
    min_notional, order_refused, order_in_doubt, late_poll, dead_man, outage, candle_revised, command, manual_trade,
    forced_close, slippage, fee_rate; else unexplained. Exit code 1 if the drift is beyond --max-drift.
    """
    from gridv4_bt.audit.audit import audit
    from gridv4_bt.audit.chart import plot_audit
    from gridv4_bt.audit.difference_file import write_differences

    if not 0.0 <= max_drift < float("inf"):
        raise ConfigError(f"--max-drift {max_drift}: a fraction of the start equity, 0 or more")
    out = out if out is not None else state_dir / _NAME
    found = audit(state_dir)
    check_picture(out)
    console = Console(quiet=quiet or as_json)
    print_notes(found.session.config, console)
    console.print(audit_table(found, max_drift))
    plot_audit(found, max_drift, out)
    write_differences(found, out.with_suffix(".csv"))
    if as_json:
        print_json(_as_dict(found, max_drift))
    console.print(f"written to {out} and {out.with_suffix('.csv').name}")
    if found.drift > max_drift:
        typer.echo(f"live and backtest drift apart by {found.drift:.4%}, more than {max_drift:.4%}", err=True)
        raise typer.Exit(DRIFTED)


def _as_dict(audit: "Audit", max_drift: float) -> dict[str, Any]:
    """Return the audit's figures and each cause with its own differences and those that follow from them."""
    session, replay = audit.session, audit.replay
    counts = Counter((str(one.cause), one.follows) for one in audit.differences)
    return {
        "place": session.place,
        "symbols": list(session.symbols),
        "bars": dict(zip(("live", "backtest"), audit.bars, strict=True)),
        "fills": {"live": len(session.fills), "backtest": len(replay.fills), "matched": len(audit.matched),
                  "missed": len(audit.missed), "extra": len(audit.extra)},
        "fees": {"live": sum(one.fee for one in session.fills), "backtest": sum(one.fee for one in replay.fills)},
        "funding": {
            "live": sum(one.paid for one in session.payments), "backtest": sum(one.paid for one in replay.payments)
        },
        "equity": {"live": float(audit.live[-1]), "backtest": float(audit.backtest[-1])},
        "drift": audit.drift,
        "max_drift": max_drift,
        "identical": audit.is_identical,
        "causes": {
            cause: {"own": counts[cause, False], "follow": counts[cause, True]}
            for cause in dict.fromkeys(str(one.cause) for one in audit.differences)
        },
    }  # fmt: skip


def audit_table(audit: "Audit", max_drift: float) -> Table:
    """Return the audit in one table: both sides, what differs, and why."""
    session, summary = audit.session, audit.replay.summary
    first, last = (str(time.astype("datetime64[ms]"))[:16].replace("T", " ") for time in audit.times[[0, -1]])
    title = f"{', '.join(session.symbols)} at {session.place}, {first} to {last} UTC"
    table = Table("", title=title)
    for name in ("live", "backtest", "difference"):
        table.add_column(name, justify="right")
    live_fees, their_fees = (sum(fill.fee for fill in fills) for fills in (session.fills, audit.replay.fills))
    live_funding, their_funding = (
        sum(one.paid for one in payments) for payments in (session.payments, audit.replay.payments)
    )
    _counts(table, "bars decided", *audit.bars)
    _counts(table, "fills", len(session.fills), len(audit.replay.fills))
    _counts(table, "closings", session.closings, sum(group["trades"] for group in summary["by_label"].values()))
    _counts(table, "funding payments", len(session.payments), len(audit.replay.payments))
    _amounts(table, "fees", live_fees, their_fees)
    _amounts(table, "funding paid", live_funding, their_funding)
    _amounts(table, "equity at the end", float(audit.live[-1]), float(audit.backtest[-1]))
    table.add_section()
    table.add_row("fills matched", f"{len(audit.matched):,}")
    table.add_row("missed: in the backtest only", "", f"{len(audit.missed):,}")
    table.add_row("extra: live only", f"{len(audit.extra):,}")
    if session.transfers:
        table.add_row("wallet corrected, in both", *[f"{sum(session.transfers.values()):,.2f}"] * 2)
    worst = f"{audit.drift:.4%}"
    table.add_row("largest drift of equity", "", "", f"[red]{worst}[/]" if audit.drift > max_drift else worst)
    if audit.differences:
        table.add_section()
        table.add_row("[bold]cause[/]", "[bold]its own[/]", "[bold]follows from it[/]", "[bold]fills[/]")
        counts = Counter((one.cause, one.follows) for one in audit.differences)
        for cause in dict.fromkeys(one.cause for one in audit.differences):
            own, follows = counts[cause, False], counts[cause, True]
            table.add_row(str(cause), f"{own:,}", f"{follows:,}", f"{own + follows:,}")
    elif audit.is_identical:
        table.add_section()
        table.add_row("identical: every fill, fee, funding payment, and the equity of every bar")
    return table


def _counts(table: Table, name: str, live: int, backtest: int) -> None:
    table.add_row(name, f"{live:,}", f"{backtest:,}", f"{live - backtest:+,}" if live != backtest else "")


def _amounts(table: Table, name: str, live: float, backtest: float) -> None:
    difference = live - backtest
    table.add_row(name, f"{live:,.6f}", f"{backtest:,.6f}", f"{difference:+.3g}" if difference else "")
