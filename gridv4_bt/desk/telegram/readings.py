"""What the bots are like, in words: each reading is one that the desk's page shows too."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from gridv4_bt.desk import bot_overview, drawn_fills, held, ladder_view
from gridv4_bt.desk.account_risk import account_risk
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.risk_view import risk
from gridv4_bt.desk.telegram.address import Address
from gridv4_bt.desk.telegram.replies import Reply
from gridv4_bt.live.owner_messages import fill_line
from gridv4_bt.report.numbers import number, signed

_DAYS, _FILLS, _LOGS = 7, 10, 10  #: how many without a number
_MOST = 200  #: of one message
_PARTS = ("realized_grid", "fees", "funding", "unrealized")
_NAMES = {"realized_grid": "realised by the grid", "fees": "fees", "funding": "funding", "unrealized": "unrealised"}


def status(address: Address, bot: BotFiles) -> Reply:
    """Say what both legs of each symbol hold."""
    line = bot_overview.overview(address.bot, bot)
    lines = [_worth(line)] if "equity" in line else ["nothing is decided yet"]
    config = bot.config()
    for row in held.leg_rows(bot):
        name = f"{row['symbol']} {row['side']}"
        if row["side"] == "NET":
            lines.append(f"{name}: {row['qty']:g}, unrealised {signed(row['unrealized'])}, close {row['close']:,.6g}")
            continue
        levels = config.of(row["symbol"]).levels
        if row["qty"]:
            lines.append(f"{name}: {row['qty']:g} at {row['average']:,.6g}, unrealised {signed(row['unrealized'])}")
            stop = f"{row['stop']:,.6g}" if row["stop"] else "none"
            lines.append(f"   break-even {row['break_even']:,.6g}, stop {stop}")
        else:
            lines.append(f"{name}: flat")
        lines.append(
            f"   {row['fills']} fills, {row['entries']} of {levels} levels planned, {row['exits']} exits"
            + (f"; PAUSED by {', '.join(row['paused'])}" if row["paused"] else "")
        )
    if "liquidation_distance" in line:
        lines.append(_liquidation(line["liquidation_distance"]))
    return Reply(_title(line), lines)


def profit(address: Address, bot: BotFiles) -> Reply:
    """Say where the profit comes from."""
    found = held.profit(bot)
    if not found:
        return Reply(f"{address.bot}: profit", ["nothing is decided yet"])
    lines = [f"{_NAMES[name]}: {signed(found[name])}" for name in _PARTS]
    lines.append(f"total: {signed(found['total'])}")
    lines.append(f"from {number(found['start'], 'money')} to {number(found['equity'], 'money')}")
    if abs(found["difference"]) >= 0.005:
        lines.append(f"difference to the recorded equity: {signed(found['difference'])}")
    return Reply(f"{address.bot}: profit", lines)


def daily(address: Address, bot: BotFiles) -> Reply:
    """Say what the last days have brought."""
    return _by_time(address, bot, "days", lambda day: day)


def weekly(address: Address, bot: BotFiles) -> Reply:
    """Say what the last weeks have brought."""
    return _by_time(address, bot, "weeks", lambda day: "{}-W{:02}".format(*date.fromisoformat(day).isocalendar()[:2]))


def monthly(address: Address, bot: BotFiles) -> Reply:
    """Say what the last months have brought."""
    return _by_time(address, bot, "months", lambda day: day[:7])


def _by_time(address: Address, bot: BotFiles, what: str, span_of: Callable[[str], str]) -> Reply:
    spans: dict[str, dict[str, float]] = {}
    lines = []
    for row in held.profit_by(bot, "day"):
        if row["day"] == "open":
            lines.append(f"open: {signed(row['total'])} (unrealised {signed(row['unrealized'])})")
            continue
        span = spans.setdefault(span_of(row["day"]), dict.fromkeys(("total", "trades"), 0.0))
        for name in span:
            span[name] += row[name]
    latest = list(spans.items())[-_count(address, _DAYS) :]
    closed = [f"{name}: {signed(span['total'])}, {span['trades']:,.0f} closings" for name, span in reversed(latest)]
    return Reply(f"{address.bot}: profit of closed fills by {what} (UTC)", [*closed, *lines] or ["nothing yet"])


def balance(address: Address, bot: BotFiles) -> Reply:
    """Say what the account holds."""
    line = bot_overview.overview(address.bot, bot)
    rows = bot.rows()
    if "equity" not in line or not rows:
        return Reply(f"{address.bot}: balance", ["nothing is decided yet"])
    return Reply(
        f"{address.bot}: balance",
        [
            f"wallet {number(float(rows[-1]['wallet']), 'money')}",
            f"unrealised {signed(float(rows[-1]['unrealized']))}",
            f"equity {number(line['equity'], 'money')}, drawdown {number(line['drawdown'], 'percent')}",
            f"maintenance margin / equity {number(line['margin_ratio'], 'percent')}",
            f"exposure LONG {number(line['exposure_long'], 'money')}, SHORT {number(line['exposure_short'], 'money')}",
        ],
    )


def orders(address: Address, bot: BotFiles) -> Reply:
    """Say which orders are open, and why levels have none."""
    found = ladder_view.open_orders(bot)
    symbols = [address.symbol] if address.symbol else bot.symbols()
    lines = []
    for order in found:
        if order["symbol"] in symbols and address.side in (None, order["side"]):
            qty = "all" if order["kind"] == "stop" else f"{order['qty']:g}"
            price = f"at {order['price']:,.6g}" if order["price"] else "at market"
            unsure = " (unknown)" if order["status"] == "unknown" else ""
            lines.append(f"{order['symbol']} {order['side']} {order['kind']} {qty} {price}{unsure}")
    lines = lines or ["no open orders"]
    for symbol in symbols:
        lines += _missing(symbol, address.side, ladder_view.ladder(bot, symbol, found))
    return Reply(f"{address.bot}: orders", lines)


def _missing(symbol: str, side: str | None, levels: list[dict[str, Any]]) -> list[str]:
    """Return a line for each reason why levels have no order, and which they are."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for level in levels:
        if not level["open"] and side in (None, level["side"]):
            reasons.setdefault((level["side"], level["why"]), []).append(level["level"])
    return [f"{symbol} {own} no order at {_span(numbers)}: {why}" for (own, why), numbers in reasons.items()]


def _span(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"level {numbers[0]}"
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"levels {numbers[0]} to {numbers[-1]}"
    return f"levels {', '.join(map(str, numbers))}"


def fills(address: Address, bot: BotFiles) -> Reply:
    """Say which fills were the latest."""
    total, rows = drawn_fills.fill_rows(bot, 0, _count(address, _FILLS))
    lines = [f"{str(row.get('clock', ''))[5:16].replace('T', ' ')} {fill_line(row)}: {row['reason']}" for row in rows]
    return Reply(f"{address.bot}: the latest of {total:,} fills", lines or ["none yet"])


def risks(address: Address, bot: BotFiles) -> Reply:
    """Say how far the account is from its limits."""
    found, line = risk(bot), bot_overview.overview(address.bot, bot)
    if not found or "liquidation_distance" not in line:
        return Reply(f"{address.bot}: risk", ["nothing is decided yet"])
    account = account_risk(bot)
    lines = [
        *([account["warning"]] if account.get("warning") else []),
        _liquidation(line["liquidation_distance"]),
        *(
            f"{one['symbol']} at {one['close']:,.6g}: liquidated below at {_price(one['down'])}, "
            f"above at {_price(one['up'])}"
            for one in account.get("symbols", ())
        ),
        f"margin {number(found['margin_ratio'], 'percent')} of the equity; margin call at "
        f"{number(found['margin_call'], 'percent')}",
        f"value at risk {number(found['var'], 'money')} of {number(found['var_limit'], 'money')}: beyond it no entries",
        f"unrealised {signed(found['unrealized'])}; at {signed(found['delever_at'])} the worst fill is closed",
        f"realised today {signed(found['offset'])}: what may close a fill under water",
        f"drawdown {number(line['drawdown'], 'percent')}",
        *(
            f"{one['cap'].replace('_', ' of ')}: {number(one['used'], 'money')} of {number(one['limit'], 'money')}"
            for one in found["caps"]
        ),
    ]
    return Reply(f"{address.bot}: risk", lines if found["caps"] else [*lines, "no caps of the account are set"])


def health(bots: Mapping[str, BotFiles]) -> Reply:
    """Say of every bot whether it decides, and what was wrong."""
    lines = []
    for name, bot in bots.items():
        line = bot_overview.overview(name, bot)
        state = line["state"]
        shown = stale_words(line) or state
        if "last_decision_age_s" in line:
            shown += f", last decision {_age(line['last_decision_age_s'])} ago (bar {str(line['last_bar'])[:16]})"
        lines.append(f"{name}: {shown}")
        if line.get("mismatches"):
            lines.append(f"   exchange and bot have differed {line['mismatches']} times in the last day: /logs")
        if line.get("last_alert"):
            lines.append(f"   last alert: {line['last_alert']}")
        if line.get("pauses"):
            lines.append(f"   paused: {', '.join(line['pauses'])}")
    return Reply("health", lines or ["there is no bot yet"])


def logs(address: Address, bot: BotFiles) -> Reply:
    """Say which alerts, failures, commands, starts and ends were the latest."""
    found = bot_overview.failures(bot, _count(address, _LOGS))
    hidden = ("at", "kind", "what", "clock")
    lines = [
        f"{str(one.get('clock') or one.get('at'))[5:16].replace('T', ' ')} "
        f"{str(one.get('what') or one['kind']).replace('_', ' ')}: "
        + ", ".join(f"{key} {value}" for key, value in one.items() if key not in hidden)
        for one in found
    ]
    return Reply(f"{address.bot}: the latest events", lines or ["none on record"])


#: The readings of one bot, by command.
READINGS: Mapping[str, Callable[[Address, BotFiles], Reply]] = {
    "status": status, "profit": profit, "daily": daily, "weekly": weekly, "monthly": monthly, "balance": balance,
    "orders": orders, "fills": fills, "risk": risks, "logs": logs,
}  # fmt: skip


def stale_words(line: Mapping[str, Any]) -> str:
    """Return what is said at once of a bot that is stale, "" of another one; `line` is its overview."""
    if line["state"] != "stale":
        return ""
    return f"STALE: {line['reason']}"


def _title(line: Mapping[str, Any]) -> str:
    place = f" on {line['place']}" if line.get("place") else ""
    return f"{line['bot']}: {line['state']}{place}"


def _worth(line: Mapping[str, Any]) -> str:
    return (
        f"equity {number(line['equity'], 'money')}, profit {signed(line['profit'])}, drawdown "
        f"{number(line['drawdown'], 'percent')}"
    )


def _liquidation(distance: float | None) -> str:
    return f"liquidation {number(distance, 'percent')} away" if distance is not None else "no liquidation price"


def _price(price: float | None) -> str:
    return f"{price:,.6g}" if price is not None else "no price"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:,.1f} h"


def _count(address: Address, usual: int) -> int:
    return min(max(address.count or usual, 1), _MOST)
