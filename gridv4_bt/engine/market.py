"""The exchange's rules of one market, now and by date: order filters and notional brackets.

The packaged rules are in `gridv4_bt/markets.json`; a user's file replaces all or part of them.
"""

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import JSON_LIMIT, read_settings_text
from gridv4_bt.core.risk import Bracket
from gridv4_bt.errors import ConfigError, MarketError

DEFAULT = "DEFAULT"  #: packaged entry for symbols without their own; stricter than any real market known
_MOST_DECIMALS = 12
_OF_PRICES = "filters by the candles' prices, and "
_COARSEST_TICK = 0.05  #: fraction of the price; real ones are below a hundredth


@dataclass(frozen=True)
class Market:
    """The rules of one perpetual.

    Raises
    ------
    MarketError
        The numbers are out of range or contradict each other.
    """

    symbol: str  #: the exchange's name, e.g. BTCUSDT
    tick: float  #: smallest price step, quote per base
    step: float  #: smallest quantity step, base
    min_qty: float  #: smallest order quantity, base
    min_notional: float  #: smallest price*quantity of an opening order, quote
    brackets: tuple[Bracket, ...]  #: maintenance margin by a leg's own notional
    max_leverages: tuple[float, ...]  #: highest initial leverage of each bracket
    as_of: str  #: dates and sources of the filters and the brackets

    def __post_init__(self) -> None:
        for name in ("tick", "step", "min_qty"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise MarketError(f"{self.symbol}: {name} is {getattr(self, name)}, expected a positive number")
        if not 0.0 <= self.min_notional < math.inf:
            raise MarketError(f"{self.symbol}: min_notional is {self.min_notional}, expected 0 or more")
        try:
            check_brackets(self.brackets)
        except MarketError as error:
            raise MarketError(f"{self.symbol}: {error}") from None
        if len(self.max_leverages) != len(self.brackets) or not all(lev >= 1.0 for lev in self.max_leverages):
            raise MarketError(f"{self.symbol}: expected a maximum leverage of 1 or more for each bracket")

    def max_notional(self, leverage: float) -> float:
        """Return the largest notional of a leg at an initial leverage, quote.

        It is the cap of the last bracket that allows the leverage, 0 if none does.
        """
        caps = [row.cap for row, most in zip(self.brackets, self.max_leverages, strict=True) if most >= leverage]
        return max(caps, default=0.0)


@dataclass(frozen=True)
class MarketHistory:
    """The rules of one market by date: (in force from, rules), times in ms, ascending."""

    changes: tuple[tuple[int, Market], ...]

    def __post_init__(self) -> None:
        times = [from_ms for from_ms, _ in self.changes]
        if not times or any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise MarketError("a market history needs at least one entry, in ascending order of time")

    def at(self, time_ms: int) -> Market:
        """Return the rules in force at a time; before the first known change, the first rules."""
        return self.changes[max(self._known(time_ms) - 1, 0)][1]

    def next_change(self, time_ms: int) -> float:
        """Return the time of the next change of rules after a time, ms; infinity if there is none."""
        index = self._known(time_ms)
        return self.changes[index][0] if index < len(self.changes) else math.inf

    def _known(self, time_ms: int) -> int:
        return bisect_right(self.changes, time_ms, key=lambda change: change[0])


def check_brackets(brackets: Sequence[Bracket]) -> None:
    """Refuse a table that does not describe a continuous, convex margin.

    Brackets must be contiguous from 0, rates non-decreasing within (0, 1), and
    `amount[i] = amount[i-1] + floor[i]*(rate[i] - rate[i-1])` to 1e-6 relative, starting at 0.

    Raises
    ------
    MarketError
        Names the bracket (counted from 1) and the value expected.
    """
    if not brackets:
        raise MarketError("the bracket table is empty; at least one bracket is needed")
    floor, rate, amount = 0.0, 0.0, 0.0
    for number, row in enumerate(brackets, start=1):
        if row.floor != floor:
            raise MarketError(f"bracket {number} starts at {row.floor}, expected floor {floor}")
        if not row.cap > row.floor:
            raise MarketError(f"bracket {number} ends at {row.cap}, expected a cap above its floor {row.floor}")
        if not rate <= row.rate < 1.0 or row.rate == 0.0:
            raise MarketError(f"bracket {number} has rate {row.rate}, expected one in (0, 1) and not below {rate}")
        amount += row.floor * (row.rate - rate)
        if not math.isclose(row.amount, amount, rel_tol=1e-6, abs_tol=1e-9):
            raise MarketError(f"bracket {number} has maintenance amount {row.amount}, expected {amount:.10g}")
        floor, rate, amount = row.cap, row.rate, row.amount


def exchange_symbol(symbol: str) -> str:
    """Return the exchange's name of a linear perpetual: BTCUSDT for BTCUSDT, BTC/USDT or BTC/USDT:USDT.

    Raises
    ------
    MarketError
        It is not settled in its quote currency, is a dated future or no symbol at all.
    """
    pair, _, settle = symbol.partition(":")
    base, slash, quote = pair.partition("/")
    linear = settle in ("", quote) and bool(base) and bool(quote) == bool(slash)
    if not linear or not (base + quote).isalnum():
        raise MarketError(f"{symbol!r} is not a linear perpetual; write it like BTCUSDT, BTC/USDT or BTC/USDT:USDT")
    return (base + quote).upper()


def is_listed(symbol: str) -> bool:
    """Return whether the packaged table has a symbol; others are traded with its DEFAULT."""
    return exchange_symbol(symbol) in _packaged_table()["symbols"]


def load_market(symbol: str, path: Path | None = None) -> Market:
    """Return a symbol's rules from the packaged table, updated from a file if one is given.

    A symbol that the packaged table lacks gets its DEFAULT. A file may be, and replaces:

    - a table in the shape of `markets.json`: everything; a symbol it lacks gets the DEFAULT of that file;
    - `{"as_of", "symbols": {symbol: [{notionalFloor, notionalCap, maintMarginRate, maintAmount, maxLeverage}]}}`, or
      the exchange's answer to `/fapi/v1/leverageBracket`, or ccxt's `fetch_leverage_tiers`: the brackets;
    - the exchange's answer to `/fapi/v1/exchangeInfo`: tick, step and minima.

    Raises
    ------
    MarketError
        The file cannot be read, has another shape, lacks the symbol or contradicts itself.
    """
    name = exchange_symbol(symbol)
    packaged = _market_from_table(name, _packaged_table())
    if path is None:
        return packaged
    content = _read_json(path)
    try:
        return _updated(packaged, content)
    except MarketError as error:
        raise MarketError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MarketError(f"{path}: not a market table, bracket table or exchange answer: {_reason(error)}") from None


def tick_of(prices: NDArray[np.float64]) -> float:
    """Return the price step that recorded prices keep to: 0.01 for 100.25 and 99.5, a power of ten.

    Where they keep to none, as averages do, it is a millionth of the price's decade.
    """
    seen = np.unique(prices)
    for decimals in range(_MOST_DECIMALS + 1):
        if (np.round(seen, decimals) == seen).all():
            return float(f"1e-{decimals}")
    return float(f"1e{math.floor(math.log10(float(np.median(seen)))) - 6}")


def check_tick(market: Market, price: float) -> None:
    """Refuse a price step that is as coarse as the price, at which no level of a grid could rest.

    Raises
    ------
    MarketError
        Names the cure.
    """
    if market.tick > _COARSEST_TICK * price:
        raise MarketError(
            f"{market.symbol}: its tick {market.tick:g} is too coarse for a price of {price:.6g}: the symbol or the "
            "unit of the prices is wrong. Name the right symbol, or give its filters with --brackets."
        )


def load_market_history(
    symbol: str, path: Path | None = None, prices: NDArray[np.float64] | None = None
) -> MarketHistory:
    """Return a symbol's rules by date.

    A symbol whose filters neither a file nor the packaged table knows gets those of the DEFAULT, with the tick that the
    recorded `prices` keep to.

    A history file is `{"symbols": {symbol: [{"first_seen": ISO 8601, "tiers": [...], "tick", "step", "min_qty",
    "min_notional"}]}}`: each entry holds what changed at that time (without a zone: UTC). Before the first entry with
    a value the packaged table's holds. Any file of `load_market`, or none, gives rules that never change.

    Raises
    ------
    MarketError
        The file cannot be read, has another shape, lacks the symbol or holds a table that is not continuous; the
        message names the date and the bracket.
    """
    market = _with_tick_of(prices, load_market(symbol))
    if path is None:
        return MarketHistory(((0, market),))
    content = _read_json(path)
    if not _is_history(content, market.symbol):
        return MarketHistory(((0, _with_tick_of(prices, load_market(symbol, path))),))
    try:
        changes = []
        for entry in sorted(_find(market.symbol, content["symbols"]), key=_first_seen):
            market = _dated_change(market, entry)
            changes.append((_first_seen(entry), market))
        return MarketHistory(tuple(changes))
    except MarketError as error:
        raise MarketError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MarketError(f"{path}: not a history of brackets by date: {_reason(error)}") from None


def has_tick_of_prices(market: Market) -> bool:
    """Return whether a market's tick is that of recorded prices, because its filters are not known."""
    return market.as_of.startswith(_OF_PRICES)


def _with_tick_of(prices: NDArray[np.float64] | None, market: Market) -> Market:
    """Return a market with the tick that prices keep to, unless its filters are known."""
    default = load_market(market.symbol).as_of.partition("; ")[0]
    if prices is None or is_listed(market.symbol) or not market.as_of.startswith(default):
        return market
    return replace(market, tick=tick_of(prices), as_of=_OF_PRICES + market.as_of.removeprefix("filters "))


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _is_history(content: Any, name: str) -> bool:
    """Return whether a file's content has dated entries, of a symbol or, if that is missing, of its first one."""
    symbols = content.get("symbols") if isinstance(content, dict) else None
    if not isinstance(symbols, dict):
        return False
    entries = symbols.get(name) or next(iter(symbols.values()), None)
    return isinstance(entries, list) and any(isinstance(entry, dict) and "first_seen" in entry for entry in entries)


def _packaged_table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("gridv4_bt").joinpath("markets.json").read_text("utf-8"))
    return table


def _read_json(path: Path) -> Any:
    try:
        text = read_settings_text(Path(path), "JSON", JSON_LIMIT)
        if not text.strip():  # rules are read for each symbol, a pipe gives them once
            raise MarketError(f"{path}: it is empty; of a pipe make a file")
        return json.loads(text)
    except ConfigError as error:
        raise MarketError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise MarketError(f"{path}: cannot be read as JSON: {' '.join(str(error).split())[:200]}") from None


def _find(name: str, symbols: dict[str, Any]) -> Any:
    if name not in symbols:
        raise MarketError(f"has nothing about {name}, only about {', '.join(sorted(symbols))}")
    return symbols[name]


def _updated(market: Market, content: Any) -> Market:
    """Return a market with the rules of a file of any known shape."""
    if isinstance(content, dict) and "brackets" in content:  # the exchange's answer for a single symbol
        content = [content]
    if isinstance(content, dict) and "symbols" not in content:
        return _with_brackets(market, _ccxt_tiers(market.symbol, content), "undated, ccxt's leverage tiers")
    if isinstance(content, list) and any("maintenanceMarginRate" in tier for tier in content):
        tiers = _ccxt_tiers(market.symbol, _by_symbol(content))
        return _with_brackets(market, tiers, "undated, ccxt's leverage tiers")
    if isinstance(content, list):
        answers = {entry["symbol"]: entry["brackets"] for entry in content}
        return _with_brackets(market, _find(market.symbol, answers), "undated, leverageBracket answer")
    symbols = content["symbols"]
    if isinstance(symbols, list):
        entry = _find(market.symbol, {entry["symbol"]: entry for entry in symbols})
        answered = datetime.fromtimestamp(content["serverTime"] / 1000, UTC)
        return _with_filters(market, entry, f"{answered.date()}, exchangeInfo answer")
    if all(isinstance(entry, dict) for entry in symbols.values()):
        return _market_from_table(market.symbol, content)
    tiers = _find(market.symbol, symbols)
    if any("first_seen" in tier for tier in tiers):
        raise MarketError("is a history of rules by date; a single table is needed here")
    return _with_brackets(market, tiers, str(content.get("as_of", "undated")))


def _by_symbol(tiers: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the list of ccxt's `fetch_market_leverage_tiers` as its `fetch_leverage_tiers` has it."""
    if not all(tier.get("symbol") for tier in tiers):
        raise MarketError('ccxt\'s leverage tiers name no symbol; write them as {"BTC/USDT:USDT": [...]}')
    return {symbol: [tier for tier in tiers if tier["symbol"] == symbol] for symbol in {one["symbol"] for one in tiers}}


def _ccxt_tiers(name: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a symbol's tiers of ccxt's `fetch_leverage_tiers`, as freqtrade keeps them, named as in dated files.

    The maintenance amount, which ccxt keeps in the exchange's own answer alone, follows from floors and rates.
    """
    if not content or not all(isinstance(tiers, list) and ":" in symbol for symbol, tiers in content.items()):
        reason = content.get("msg") or content.get("message") or "it names no symbols"
        raise MarketError(f"not a market table, bracket table or exchange answer: {reason}")
    tiers = _find(name, {exchange_symbol(symbol): tiers for symbol, tiers in content.items()})
    found, rate, amount = [], 0.0, 0.0
    for tier in sorted(tiers, key=lambda one: float(one["minNotional"])):
        floor, own = float(tier["minNotional"]), float(tier["maintenanceMarginRate"])
        amount += floor * (own - rate)
        rate = own
        found.append(
            {
                "notionalFloor": floor,
                "notionalCap": math.inf if tier["maxNotional"] is None else tier["maxNotional"],
                "maintMarginRate": own,
                "maintAmount": amount,
                "maxLeverage": tier["maxLeverage"],
            }
        )
    return found


def _market_from_table(name: str, table: dict[str, Any]) -> Market:
    symbols = table["symbols"]
    facts = _find(name if name in symbols or DEFAULT not in symbols else DEFAULT, symbols)
    return Market(
        symbol=name,
        tick=float(facts["tick"]),
        step=float(facts["step"]),
        min_qty=float(facts["min_qty"]),
        min_notional=float(facts["min_notional"]),
        brackets=tuple(Bracket(*map(float, row[:4])) for row in facts["brackets"]),
        max_leverages=tuple(float(row[4]) for row in facts["brackets"]),
        as_of=f"filters {facts['filters_as_of']}; brackets {facts['brackets_as_of']}",
    )


def _with_brackets(market: Market, tiers: list[dict[str, Any]], as_of: str) -> Market:
    """Return a market with other brackets, named as in the exchange's answer or as in dated files."""
    rows = sorted(tiers, key=lambda tier: float(tier["notionalFloor"]))
    answer = "cum" in rows[0]
    rate, amount, leverage = (
        ("maintMarginRatio", "cum", "initialLeverage") if answer else ("maintMarginRate", "maintAmount", "maxLeverage")
    )
    return replace(
        market,
        brackets=tuple(
            Bracket(float(row["notionalFloor"]), float(row["notionalCap"]), float(row[rate]), float(row[amount]))
            for row in rows
        ),
        max_leverages=tuple(float(row[leverage]) for row in rows),
        as_of=f"{market.as_of.partition('; brackets ')[0]}; brackets {as_of}",
    )


def _with_filters(market: Market, entry: dict[str, Any], as_of: str) -> Market:
    """Return a market with the filters of its symbol in an exchangeInfo answer."""
    filters = {rule["filterType"]: rule for rule in entry["filters"]}
    lot = filters["LOT_SIZE"]
    return replace(
        market,
        tick=float(filters["PRICE_FILTER"]["tickSize"]),
        step=float(lot["stepSize"]),
        min_qty=float(lot["minQty"]),
        min_notional=float(filters["MIN_NOTIONAL"]["notional"]),
        as_of=f"filters {as_of}; brackets {market.as_of.partition('; brackets ')[2]}",
    )


def _first_seen(entry: dict[str, Any]) -> int:
    """Return the time from which a dated entry is in force, ms."""
    seen = datetime.fromisoformat(entry["first_seen"])
    return round((seen if seen.tzinfo else seen.replace(tzinfo=UTC)).timestamp() * 1000)


def _dated_change(market: Market, entry: dict[str, Any]) -> Market:
    """Return a market with the changes of a dated entry."""
    seen = entry["first_seen"]
    try:
        if "tiers" in entry:
            market = _with_brackets(market, entry["tiers"], seen)
        names = ("tick", "step", "min_qty", "min_notional")
        filters: dict[str, Any] = {name: float(entry[name]) for name in names if name in entry}
        if filters:
            brackets = market.as_of.partition("; brackets ")[2]
            market = replace(market, **filters, as_of=f"filters {seen}; brackets {brackets}")
        return market
    except MarketError as error:
        raise MarketError(f"table first seen {seen}: {error}") from None
