"""The fills of an audit that differ as rows of a file; and all that an audit has found as a file beside a session."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gridv4_bt.audit.audit import Audit
from gridv4_bt.core.time import iso
from gridv4_bt.live.private_files import write_private

COLUMNS = (
    "time", "symbol", "side", "purpose", "differs", "cause", "follows", "order", "live_qty", "backtest_qty",
    "live_price", "backtest_price", "live_fee", "backtest_fee", "live_booked", "backtest_booked",
)  # fmt: skip


def figures(audit: Audit) -> dict[str, Any]:
    """Return the drift, how many fills match, are missed and are extra, and the causes of what differs."""
    return {
        "drift": round(audit.drift, 8),
        "matched": len(audit.matched),
        "missed": len(audit.missed),
        "extra": len(audit.extra),
        "causes": dict(Counter(str(one.cause) for one in audit.differences)),
    }


def write_audit(audit: Audit, now: int, path: Path) -> None:
    """Write what an audit has found as JSON, whole or not at all, for its owner alone.

    Beside `figures`: `times` (ms), `live` and `backtest` (equity, quote) of all bars that both sides have, and under
    `differences` the rows of `write_differences` by name, None where a side has no such fill.

    Parameters
    ----------
    now : the session's time, ms.
    """
    content = figures(audit) | {
        "clock": iso(now),
        "times": audit.times.tolist(),
        "live": audit.live.tolist(),
        "backtest": audit.backtest.tolist(),
        "differences": [dict(zip(COLUMNS, row, strict=True)) for row in _rows(audit)],
    }
    draft = path.with_suffix(".tmp")
    write_private(draft, json.dumps(content, separators=(",", ":")) + "\n")
    os.replace(draft, path)


def write_differences(audit: Audit, path: Path) -> None:
    """Write the differences as CSV; times are bar open times, ISO 8601 UTC; a side without the fill has empty cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(audit))


def _rows(audit: Audit) -> Iterator[list[Any]]:
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
                value = None if side is None else getattr(side, name)
                row.append(iso(value) if name == "booked" and value is not None else value)
        yield row
