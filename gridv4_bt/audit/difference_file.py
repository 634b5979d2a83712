"""The fills of an audit as a file: one row for each that differs."""

import csv
from pathlib import Path

from gridv4_bt.audit.audit import Audit
from gridv4_bt.core.time import iso

COLUMNS = (
    "time", "symbol", "side", "purpose", "differs", "cause", "follows", "order", "live_qty", "backtest_qty",
    "live_price", "backtest_price", "live_fee", "backtest_fee", "live_booked", "backtest_booked",
)  # fmt: skip


def write_differences(audit: Audit, path: Path) -> None:
    """Write the differences as CSV; times are bar open times, ISO 8601 UTC; a side without the fill has empty cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in audit.differences:
            pair, fill = one.pair, one.pair.fill
            row = [
                iso(pair.bar),
                fill.symbol,
                fill.side.name,
                fill.purpose.name.lower() if fill.purpose else "foreign",
                " ".join(pair.differences),
                one.cause,
                one.follows,
                pair.live.order if pair.live else "",
            ]
            for name in ("qty", "price", "fee", "booked"):
                for side in (pair.live, pair.backtest):
                    value = "" if side is None else getattr(side, name)
                    row.append(iso(value) if name == "booked" and side is not None else value)
            writer.writerow(row)
