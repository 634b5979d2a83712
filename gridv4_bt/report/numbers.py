"""Numbers as text, in one way on every page: thousands apart, a true minus, percent with a space."""

import math
import re
from typing import Any

DASH = "–"
MINUS = "−"

#: Quote currencies that symbols end in.
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD", "EUR", "BTC", "ETH")


def number(value: Any, kind: str = "") -> str:
    """Return a figure as text.

    Parameters
    ----------
    kind : money, percent (of a fraction), ratio, count, days, hours, or "" for whatever it is.
    """
    if value is None:
        return DASH
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else MINUS + "∞" if value < 0 else DASH
    if kind == "percent":
        text = f"{100.0 * value:,.2f} %" if abs(value) >= 5e-5 or value == 0 else f"{_significant(100.0 * value, 2)} %"
    elif kind in ("days", "hours"):
        text = f"{value:,.1f} {'d' if kind == 'days' else 'h'}"
    elif kind == "money" or (kind == "ratio" and not 0.0 < abs(value) < 0.1):
        text = f"{value:,.2f}"
    elif kind == "count" or isinstance(value, int):
        text = f"{value:,.0f}"
    else:
        text = _significant(value, 2 if kind == "ratio" else 4)
    if text.startswith("-") and not re.search("[1-9]", text):
        text = text[1:]  # no minus before a zero
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def signed(value: float | None, kind: str = "money") -> str:
    """Return a gain or loss as text, a gain with its plus."""
    text = number(value, kind)
    return f"+{text}" if isinstance(value, (int, float)) and value > 0 and re.search("[1-9]", text) else text


def _significant(value: float, digits: int = 4) -> str:
    """Return a number with so many digits that count, without an exponent."""
    places = min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 10) if value else 0
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def words(key: str) -> str:
    """Return a key as words."""
    return key.replace("_", " ")


def sign_of(value: Any) -> str:
    """Return the style of a gain or a loss; none for 0 and anything but a number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value == 0:
        return ""
    return "good" if value > 0 else "bad"


def quote_of(symbols: list[str]) -> str:
    """Return the currency the symbols are priced in, "quote" where their names do not tell or differ."""
    found = {next((quote for quote in _QUOTES if symbol.upper().endswith(quote)), "quote") for symbol in symbols}
    return found.pop() if len(found) == 1 else "quote"
