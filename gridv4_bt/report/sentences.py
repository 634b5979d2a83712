"""The result of a run in sentences, for the page, the terminal and notebooks."""

from collections.abc import Mapping
from typing import Any

from gridv4_bt.report.numbers import MINUS, number, sign_of, signed, words

#: Fewer days than this are not told as a year.
FEW_DAYS = 30


def find(summary: Mapping[str, Any], path: str) -> Any:
    """Return the figure at a dotted path, None where the run has none."""
    found: Any = summary
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def tells_a_year(summary: Mapping[str, Any]) -> bool:
    """Return whether the run is long enough for figures of a year."""
    return (find(summary, "returns.days") or 0) >= FEW_DAYS


def span(summary: Mapping[str, Any]) -> str:
    """Return the first and last time of the run as text."""
    first, last = summary.get("from"), summary.get("to")
    if not first or not last:
        return "no bar traded"
    first, last = (str(time)[:16].replace("T", " ") for time in (first, last))
    return f"{first} to {last} UTC, {number(summary.get('bars'), 'count')} bars"


def verdict(summary: Mapping[str, Any], quote: str) -> dict[str, str]:
    """Return one or two sentences on the result: lead, share and its style, and the rest."""
    gain = summary.get("net_return")
    if gain is None:
        return {"lead": "Nothing was traded.", "share": "", "style": "", "rest": ""}
    lead = "Made" if gain > 0.0 else "Lost" if gain < 0.0 else "Neither made nor lost anything"
    start, end = (number(summary.get(key), "money") for key in ("start_equity", "end_equity"))
    parts = [f": {start} became {end} {quote}."]
    parts_known = all(isinstance(summary.get(key), (int, float)) for key in ("gross", "fees", "funding"))
    if parts_known and (summary["gross"] or summary["fees"]):
        paid = summary["funding"]
        amount = number(abs(paid), "money")
        funding = f", funding {'cost' if paid > 0.0 else 'brought'} {amount}" if amount != number(0.0, "money") else ""
        parts.append(
            f"Price moves brought {number(summary['gross'], 'money')}, fees cost {number(summary['fees'], 'money')}"
            f"{funding}."
        )
        if summary.get("unrealized"):
            parts.append(f"Not yet realised: {signed(summary['unrealized'])}.")
    held = find(summary, "benchmark.hold.net_return")
    if held is not None:
        parts.append(f"Buying and holding: {signed(held, 'percent')}.")
    share = number(abs(gain), "percent") if gain else ""
    return {"lead": lead, "share": share, "style": sign_of(gain), "rest": " ".join(parts)}


def open_legs(summary: Mapping[str, Any], quote: str) -> list[str]:
    """Return a sentence for each leg that was still open at the end."""
    found = []
    for name, leg in (summary.get("open_legs") or {}).items():
        worst = leg.get("worst")
        bad = f", at worst {number(worst, 'money')}" if worst is not None else ""
        fills = f"{number(leg['fills'], 'count')} fill{'s' if leg['fills'] != 1 else ''}"
        size = f"{number(leg['qty'])} in {fills} at {number(leg['entry'])} on average"
        days, now = leg["age_days"], number(leg["unrealized"], "money")
        age = number(days, "days") if days >= 2.0 else number(24.0 * days, "hours")
        found.append(f"{name}: {size}, the oldest {age} old; unrealised {now}{bad} {quote}.")
    return found


def made_and_lost(summary: Mapping[str, Any]) -> list[str]:
    """Return sentences on what made and what lost money: reasons of closing, sides, levels, days."""
    labels = {words(name): group for name, group in (summary.get("by_label") or {}).items()}
    traded = {name: level for name, level in (summary.get("levels") or {}).items() if level["trades"]}
    levels = {f"level {name.replace('-', MINUS)}": level for name, level in traded.items()}
    found = [_extremes(labels, "closing"), _extremes(levels, "trade")]
    sides = [f"{name.upper()} {signed(group['net'])}" for name, group in (summary.get("by_side") or {}).items()]
    if sides:
        found.append(f"By side: {', '.join(sides)}.")
    named = (("Best", find(summary, "returns.best_day"), 1.0), ("worst", find(summary, "returns.worst_day"), -1.0))
    days = [
        f"{word} day {day['date']} ({signed(day['return'], 'percent')})"
        for word, day, sign in named
        if day and sign * day["return"] > 0.0
    ]
    if days:
        text = ", ".join(days)
        found.append(f"{text[0].upper()}{text[1:]}.")
    return [text for text in found if text]


def _extremes(groups: Mapping[str, Mapping[str, Any]], counted: str) -> str:
    """Return which group made most and which lost most."""
    if len(groups) < 2:
        return ""
    ordered = sorted(groups.items(), key=lambda item: item[1]["net"])

    def told(name: str, group: Mapping[str, Any], verb: str) -> str:
        many = "" if group["trades"] == 1 else "s"
        return f"{name} {verb} most ({signed(group['net'])} in {number(group['trades'], 'count')} {counted}{many})"

    parts = []
    if ordered[-1][1]["net"] > 0.0:
        parts.append(told(*ordered[-1], "made"))
    if ordered[0][1]["net"] < 0.0:
        parts.append(told(*ordered[0], "lost"))
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
