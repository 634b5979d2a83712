"""The tables and sentences of the report, as HTML that needs no script."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import DAY_MS, HOUR_MS
from gridv4_bt.metrics.performance import drawdowns, period_returns, spells
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.metrics.summary import wallet_curve

DASH = "–"
MINUS = "−"

#: Known figures of the summary in the order they are shown: section, key, words, kind.
KNOWN = (
    ("Result", "start_equity", "start equity", "money"),
    ("Result", "end_equity", "end equity", "money"),
    ("Result", "net_return", "net return", "percent"),
    ("Result", "annual_return", "return a year", "percent"),
    ("Result", "sharpe", "Sharpe ratio, a year", "ratio"),
    ("Result", "sortino", "Sortino ratio, a year", "ratio"),
    ("Result", "calmar", "Calmar ratio", "ratio"),
    ("Where it came from", "gross", "gross profit of closed fills", "money"),
    ("Where it came from", "fees", "fees paid", "money"),
    ("Where it came from", "funding", "funding paid (negative: received)", "money"),
    ("Where it came from", "unrealized", "not yet realised", "money"),
    ("Where it came from", "maker_ratio", "executions as maker", "percent"),
    ("Trading", "bars", "bars", "count"),
    ("Trading", "trades", "trades", "count"),
    ("Trading", "open_fills", "fills still open", "count"),
    ("Trading", "win_rate", "trades with a profit", "percent"),
    ("Trading", "profit_factor", "profit factor", "ratio"),
    ("Trading", "time_in_market", "bars with a position", "percent"),
    ("Risk", "max_drawdown", "largest drawdown", "percent"),
    ("Risk", "halts", "halts by the circuit breaker", "count"),
    ("Risk", "stops", "stops", "count"),
    ("Risk", "margin_calls", "margin calls", "count"),
    ("Risk", "liquidations", "liquidations", "count"),
    ("Risk", "max_margin_ratio", "highest margin ratio", "percent"),
    ("Risk", "min_liquidation_distance", "nearest liquidation price", "percent"),
    ("Risk", "ambiguous_bars", "bars whose inside was uncertain", "count"),
)
#: Shown elsewhere on the page, or not the run's: the seconds differ from run to run.
ELSEWHERE = {"symbols", "from", "to", "seconds", "by_label", "by_side", "by_regime", "departs_from_definition"}
NESTED_TITLES = {
    "by_intrabar": "By how the inside of bars is matched", "blocked": "Levels without an order (levels × bars)",
    "warnings": "Warnings", "rules": "The exchange's rules used",
}  # fmt: skip
GROUPS = (("by_label", "by reason of closing"), ("by_side", "by side"), ("by_regime", "by regime at entry"))
GROUP_WORDS = {"win_rate": "with a profit"}
PERCENT_ENDINGS = (
    "_return", "return", "_rate", "_share", "drawdown", "_distance", "time_in_market", "volatility",
)  # fmt: skip
RATIO_WORDS = ("profit_factor", "sharpe", "sortino", "calmar")
COUNT_WORDS = ("trades", "bars", "stops", "halts", "liquidations", "count")
MONEY_WORDS = ("gross", "fees", "funding", "net", "equity", "pnl", "profit", "loss", "cost")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DEEPEST = 5
#: Longer lists are folded away, and wider tables are given row by row.
LONG_LIST = 16
WIDE_TABLE = 12


# --- numbers in words -------------------------------------------------------------------------------


def number(value: Any, kind: str) -> str:
    """Return a figure as text: money, percent, ratio, count, or whatever it is."""
    if value is None:
        return DASH
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else MINUS + "∞" if value < 0 else DASH
    if kind == "percent":
        text = f"{value:.2%}"
    elif kind == "money" or (kind == "ratio" and not 0.0 < abs(value) < 0.1):
        text = f"{value:,.2f}"
    elif kind == "count" or isinstance(value, int):
        text = f"{value:,.0f}"
    else:
        text = _significant(value)
    if text.startswith("-") and not any(digit in text for digit in "123456789"):
        text = text[1:]  # no minus before a zero
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def _significant(value: float) -> str:
    """Return a number with four digits that count, without an exponent."""
    places = min(max(3 - math.floor(math.log10(abs(value))), 0), 10) if value else 0
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def kind_of(key: str) -> str:
    """Return the kind of a figure by its name; "" if the name does not decide it."""
    for _, known, _, kind in KNOWN:
        if key == known:
            return kind
    if any(word in key for word in RATIO_WORDS):
        return "ratio"
    if key.endswith(PERCENT_ENDINGS):
        return "percent"
    if key in COUNT_WORDS or key.endswith("_bars"):
        return "count"
    return (
        "money" if key.rsplit("_", maxsplit=1)[-1] in MONEY_WORDS and "_of_" not in key and "_per_" not in key else ""
    )


def words(key: str) -> str:
    """Return a key as words."""
    return key.replace("_", " ")


def sign_of(value: Any) -> str:
    """Return the style of a gain or a loss; none for 0 and anything but a number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value == 0:
        return ""
    return "good" if value > 0 else "bad"


# --- the first screen -------------------------------------------------------------------------------


def span(summary: Mapping[str, Any]) -> str:
    """Return the first and last time of the run as text."""
    first, last = summary.get("from"), summary.get("to")
    if not first or not last:
        return "no bar traded"
    first, last = (escape(str(time)[:16].replace("T", " ")) for time in (first, last))
    return f"{first} to {last} UTC, {number(summary.get('bars'), 'count')} bars"


def verdict(summary: Mapping[str, Any]) -> str:
    """Return one sentence on the result, after a warning if the account was liquidated."""
    gain = summary.get("net_return")
    if gain is None:
        return '<p class="verdict">Nothing was traded.</p>'
    word = "Made" if gain > 0.0 else "Lost" if gain < 0.0 else "Neither made nor lost anything:"
    share = f" <b class={sign_of(gain) or 'even'}>{number(abs(gain), 'percent')}</b>" if gain else ""
    start, end = (number(summary.get(key), "money") for key in ("start_equity", "end_equity"))
    parts = [f"{word}{share}: {start} became {end}."]
    if all(isinstance(summary.get(key), (int, float)) for key in ("gross", "fees", "funding")):
        brought = "cost" if summary["funding"] > 0.0 else "brought"
        parts.append(
            f"Price moves brought {number(summary['gross'], 'money')}, fees cost {number(summary['fees'], 'money')}, "
            f"funding {brought} {number(abs(summary['funding']), 'money')}."
        )
        if summary.get("unrealized"):
            parts.append(f"Not yet realised: {number(summary['unrealized'], 'money')}.")
    loud = ""
    if summary.get("liquidations"):
        times = summary["liquidations"]
        loud = (
            f'<p class="liquidated" role="alert">LIQUIDATED {number(times, "count")}×: the exchange closed '
            "everything. Every figure includes the loss.</p>"
        )
    return f'{loud}<p class="verdict">{" ".join(parts)}</p>'


def tiles(summary: Mapping[str, Any]) -> str:
    """Return the key figures as a description list."""
    rows = (
        ("net return", "net_return", "percent", sign_of(summary.get("net_return"))),
        ("a year", "annual_return", "percent", sign_of(summary.get("annual_return"))),
        ("largest drawdown", "max_drawdown", "percent", ""),
        ("Sharpe", "sharpe", "ratio", sign_of(summary.get("sharpe"))),
        ("trades", "trades", "count", ""),
        ("with a profit", "win_rate", "percent", ""),
        ("fees paid", "fees", "money", ""),
        ("funding paid", "funding", "money", ""),
        ("liquidations", "liquidations", "count", "bad" if summary.get("liquidations") else ""),
    )
    items = (
        f'<div><dt>{name}</dt><dd class="{sign}">{number(summary.get(key), kind)}</dd></div>'
        for name, key, kind, sign in rows
    )
    return f'<dl class="tiles">{"".join(items)}</dl>'


# --- where the money came from ----------------------------------------------------------------------


def sources(summary: Mapping[str, Any]) -> str:
    """Return one table with a bar of the net profit in each row, for each way the trades are grouped."""
    return "".join(_source(key, title, summary[key]) for key, title in GROUPS if summary.get(key))


def _source(key: str, title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    spoken = GROUP_WORDS | ({"trades": "closings"} if key == "by_label" else {})
    largest = max((abs(group["net"]) for group in groups.values()), default=0.0) or 1.0
    names = list(dict.fromkeys(key for group in groups.values() for key in group if key != "net"))
    rows = []
    for name, group in sorted(groups.items(), key=lambda item: -item[1]["net"]):
        net = group["net"]
        bar = f'<span class="bar {sign_of(net)}" style="width:{50.0 * abs(net) / largest:.1f}%"></span>'
        cells = "".join(f"<td>{_value(key, group.get(key))}</td>" for key in names)
        rows.append(
            f'<tr><th scope="row">{escape(words(name))}</th>{cells}'
            f'<td class="{sign_of(net)}">{number(net, "money")}</td><td class="bars" aria-hidden="true">{bar}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{escape(spoken.get(name, words(name)))}</th>' for name in (*names, "net"))
    head = f'<tr><td></td>{heads}<td aria-hidden="true"></td></tr>'
    return scrolling(f"Profit {title}", f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>")


# --- months and falls -------------------------------------------------------------------------------


def months(records: Sequence[SymbolRecord], start_equity: float) -> str:
    """Return the return of every month as a heat map, years as rows."""
    returns = monthly_returns(records, start_equity)
    if not returns:
        return "<p>No month to show.</p>"
    strongest = max(abs(value) for value in returns.values()) or 1.0
    rows = []
    for year in range(min(returns)[0], max(returns)[0] + 1):
        cells = []
        whole = 1.0
        for month in range(1, 13):
            value = returns.get((year, month))
            if value is None:
                cells.append("<td></td>")
                continue
            whole *= 1.0 + value
            colour = "var(--good)" if value >= 0.0 else "var(--bad)"
            shade = f"background:color-mix(in srgb,{colour} {70.0 * abs(value) / strongest:.0f}%,transparent)"
            cells.append(f'<td style="{shade}">{number(value, "percent")}</td>')
        total = f'<td class="total {sign_of(whole - 1.0)}">{number(whole - 1.0, "percent")}</td>'
        rows.append(f'<tr><th scope="row">{year}</th>{"".join(cells)}{total}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("year", *MONTHS, "total"))
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return scrolling("Return of each month (UTC), unrealised profit included", body, "heat")


def monthly_returns(records: Sequence[SymbolRecord], start_equity: float) -> dict[tuple[int, int], float]:
    """Return the wallet's return by (year, month), from the last bar of the month before to its own last bar."""
    named = period_returns(*_curve(records), start_equity, "M")
    return {(int(month[:4]), int(month[5:])): change for month, change in named.items()}


def falls(records: Sequence[SymbolRecord], start_equity: float) -> str:
    """Return the deepest drawdowns: from when, how deep, how long until the old height was reached again."""
    times, equity = _curve(records)
    found = sorted(deepest_falls(times, equity, start_equity), key=lambda fall: -fall[3])[:DEEPEST]
    if not found:
        return "<p>The equity never fell below an earlier height.</p>"
    rows = []
    for first, lowest, end, depth in found:
        over = end is not None
        lasted = times[end if over else -1] - times[first]
        cells = (
            number(depth, "percent"),
            _day(times[lowest]),
            _day(times[end]) if over else "not yet",
            f"{lasted / DAY_MS:,.0f} days" if lasted >= 2 * DAY_MS else f"{lasted / HOUR_MS:,.0f} hours",
        )
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{_day(times[first])}</th>{row}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("began", "depth", "lowest", "made good", "lasted"))
    return scrolling("Deepest drawdowns", f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>")


def deepest_falls(
    times: np.ndarray, equity: np.ndarray, start_equity: float
) -> list[tuple[int, int, int | None, float]]:
    """Return every spell below an earlier height: its first bar, its lowest, the first one after it, and its depth."""
    if not len(times):
        return []
    depth = drawdowns(equity, start_equity)
    starts, ends = spells(depth > 1e-12)
    return [
        (
            int(first),
            int(first + np.argmax(depth[first:end])),
            int(end) if end < len(times) else None,
            float(depth[first:end].max()),
        )
        for first, end in zip(starts, ends, strict=True)
    ]


def _curve(records: Sequence[SymbolRecord]) -> tuple[np.ndarray, np.ndarray]:
    return wallet_curve(records) if records else (np.empty(0), np.empty(0))


def _day(time_ms: float) -> str:
    return str(np.datetime64(int(time_ms), "ms").astype("datetime64[D]"))


# --- all figures ------------------------------------------------------------------------------------


def figures(summary: Mapping[str, Any]) -> str:
    """Return every figure of the summary: the known ones in their sections, then whatever else it holds."""
    parts: list[str] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, key, name, kind in KNOWN:
        if key in summary:
            sections.setdefault(section, []).append((name, escape(number(summary[key], kind))))
    shown = {key for _, key, _, _ in KNOWN} | ELSEWHERE
    others = {key: value for key, value in summary.items() if key not in shown}
    plain = {key: value for key, value in others.items() if not _is_nested(value)}
    if plain:
        sections["More figures"] = _pairs(plain)
    parts.extend(_two_columns(title, rows) for title, rows in sections.items())
    parts.extend(
        _nested(NESTED_TITLES.get(key, words(key)), value, 0) for key, value in others.items() if _is_nested(value)
    )
    return "".join(parts)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, Mapping) for item in value)
    )


def _nested(title: str, value: Any, depth: int) -> str:
    """Return a table of mappings, a list of pairs, or, where the values are nested themselves, one after another."""
    if not isinstance(value, Mapping):
        value = {str(place): item for place, item in enumerate(value, start=1)}
    if not value:
        return ""
    flat = {key: item for key, item in value.items() if not _is_nested(item)}
    rows = {key: item for key, item in value.items() if isinstance(item, Mapping) and item and _is_row(item)}
    columns = {key for row in rows.values() for key in row}
    if len(columns) > WIDE_TABLE or any(2 * len(row) < len(columns) for row in rows.values()):
        rows = {}
    deep = {key: item for key, item in value.items() if key not in flat and key not in rows}
    parts = []
    if flat:
        plain = _two_columns(title, _pairs(flat))
        parts.append(plain if len(flat) <= LONG_LIST else _folded(f"{title}: {len(flat)} figures", plain))
    if rows:
        parts.append(_grid(title, rows))
    parts.extend(_nested(f"{title}: {words(str(key))}", item, depth + 1) for key, item in deep.items())
    return "".join(parts)


def _is_row(value: Mapping[str, Any]) -> bool:
    return not any(_is_nested(item) for item in value.values())


def _grid(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(str(key) for row in rows.values() for key in row))
    head = "<td></td>" + "".join(f'<th scope="col">{escape(words(name))}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(words(str(name)))}</th>'
        + "".join(f"<td>{_value(key, row.get(key))}</td>" for key in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return scrolling(title, f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(words(str(key)), _value(str(key), value)) for key, value in values.items()]


def _value(key: str, value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return escape(", ".join(number(item, kind_of(key)) for item in value) or DASH)
    return escape(number(value, kind_of(key)))


def _two_columns(title: str, rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td{_long(value)}>{value}</td></tr>' for name, value in rows
    )
    return scrolling(title, f"<tbody>{body}</tbody>", "pairs")


def _long(value: str) -> str:
    return ' class="text"' if len(value) > 24 else ""


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def scrolling(title: str, content: str, kind: str = "") -> str:
    """Return a table that scrolls by itself where the screen is narrower."""
    return (
        f'<div class="table {kind}" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><caption>{escape(title)}</caption>{content}</table></div>"
    )


# --- parameters -------------------------------------------------------------------------------------


def parameters(config: GridConfig) -> str:
    """Return every parameter, those that differ from their default first."""
    changed, rest = [], []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        extra = field.json_schema_extra or {}
        row = (name, value, field.default, str(extra.get("unit", "")), field.description or "")
        (rest if value == field.default else changed).append(row)
    lead = (
        _parameter_table("Changed from the default", changed, True)
        if changed
        else "<p>Every parameter has its default.</p>"
    )
    return lead + _folded(f"{len(rest)} parameters at their default", _parameter_table("At the default", rest, False))


def _parameter_table(title: str, rows: Sequence[tuple[str, Any, Any, str, str]], defaults: bool) -> str:
    names = ("parameter", "value", *(("default",) if defaults else ()), "unit", "meaning")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{escape(f"{value}")}</td>'
        + (f"<td>{escape(f'{default}')}</td>" if defaults else "")
        + f'<td class="text">{escape(unit)}</td><td class="text">{escape(meaning)}</td></tr>'
        for name, value, default, unit, meaning in rows
    )
    return scrolling(title, f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")
