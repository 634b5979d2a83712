"""Much in one message: the fills since the last digest, and a UTC day."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.desk import held
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.transfers import net_of_transfers
from gridv4_bt.live.owner_messages import fill_line
from gridv4_bt.report.numbers import number, signed

_LISTED = 8  # fills that are named one by one
_DAYS = 7  # of one digest, after a time without Telegram


def fill_digest(fills: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a digest of executions, oldest first: each if they are few, else the sums of each leg."""
    fees = f"fees {plain_sum(float(one['fee']) for one in fills):,.4g}"
    if len(fills) <= _LISTED:
        return [*map(fill_line, fills), fees]
    groups: dict[tuple[str, str, bool], list[Mapping[str, Any]]] = {}
    for one in fills:
        groups.setdefault((one["symbol"], one["side"], bool(one["buy"])), []).append(one)
    lines = []
    for (symbol, side, buy), some in sorted(groups.items()):
        qty = plain_sum(one["qty"] for one in some)
        average = plain_sum(one["qty"] * one["price"] for one in some) / qty
        did = "bought" if buy else "sold"
        lines.append(f"{symbol} {side}: {did} {qty:g} in {counted(len(some))}, on average at {average:,.6g}")
    return [*lines, fees]


def counted(fills: int) -> str:
    """Return a number of fills in words."""
    return f"{fills:,} fill{'' if fills == 1 else 's'}"


def day_of(bot: BotFiles) -> int | None:
    """Return the UTC day that a bot trades in, days since the epoch; None before its first bar.

    A day begins with its second bar: the daily audit of the one before is carried out after the first.
    """
    times, _ = bot.curve()
    return int(times[-2 if len(times) > 1 else -1]) // DAY_MS if len(times) else None


def day_digest(bot: BotFiles, first: int, end: int) -> list[str]:
    """Return the lines of a digest of whole UTC days, from the first one to the one before `end`, and what is held.

    Transfers are no change.
    """
    (times, equity), traded = bot.curve(), net_of_transfers(bot)
    profits = {row["day"]: row for row in held.profit_by(bot, "day")}
    lines = []
    for day in range(max(first, end - _DAYS), end):
        name = str(np.datetime64(day, "D"))
        inside = np.flatnonzero((times >= day * DAY_MS) & (times < (day + 1) * DAY_MS))
        if not len(inside):
            lines.append(f"{name}: no bar was decided")
            continue
        last, before = inside[-1], max(inside[0] - 1, 0)
        change, start = float(traded[last] - traded[before]), float(equity[before])
        share = f" ({signed(change / start, 'percent')})" if start > 0.0 else ""
        lines.append(f"{name}: equity {number(float(equity[last]), 'money')}, {signed(change)}{share}")
        if (row := profits.get(name)) is not None:
            lines.append(
                f"   {row['trades']:,.0f} closings: realised {signed(row['realized_grid'])}, "
                f"fees {signed(row['fees'])}, funding {signed(row['funding'])}"
            )
    for leg in held.leg_rows(bot):
        if leg["side"] != "NET" and leg["qty"]:
            lines.append(
                f"now {leg['symbol']} {leg['side']} {leg['qty']:g} at {leg['average']:,.6g}, "
                f"unrealised {signed(leg['unrealized'])}"
            )
    today = str(np.datetime64(end, "D"))
    audit = next(iter(bot.latest_events(["audit"], today)), None)
    if audit is not None:
        lines.append(f"audit: drift {audit['drift']:.4%}, {audit['missed']} missed and {audit['extra']} extra fills")
    return lines
