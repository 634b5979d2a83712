"""Numbers as texts: decimal commas, thousands, percent signs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

_BLANKS = re.compile(r"[\s\u00a0\u202f'\"’$€]")
_NAN = float("nan")


class Ambiguous(Exception):
    """It cannot be said whether a comma parts decimals or thousands."""


def decimal_mark(texts: Iterable[str]) -> str:
    """Return the decimal mark of the numbers of a file, "." or ",".

    A number such as 1,234.5 or 0,25 decides; if all are like 1,234 nothing does.

    Raises
    ------
    Ambiguous
        Nothing decides, or two numbers contradict each other.
    """
    marks, unclear = set(), ""
    for text in texts:
        if "," not in text and text.count(".") < 2:
            continue
        number = _BLANKS.sub("", text)
        if "," in number and "." in number:
            marks.add("." if number.rindex(".") > number.rindex(",") else ",")
        elif number.count(",") > 1 or "." in number:
            marks.add("." if "," in number else ",")
        elif re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", number):
            unclear = unclear or text
        else:
            marks.add(",")
    if len(marks) > 1:
        raise Ambiguous("some numbers have a decimal comma and some a decimal point")
    if not marks and unclear:
        raise Ambiguous(f"{unclear!r} may be a number of thousands or have a decimal comma")
    return marks.pop() if marks else "."


def floats_of(texts: Sequence[object], mark: str) -> np.ndarray:
    """Return texts as floats, the nearest to their digits; NaN for what is no number. "0.01 %" is 0.0001."""
    return np.array([_float(text, mark) for text in texts], dtype=np.float64)


def _float(value: object, mark: str) -> float:
    if not isinstance(value, str):
        return _of_object(value)
    text = _BLANKS.sub("", value)
    if "_" in text:  # Python's own separator
        return _NAN
    percent = text.endswith("%")
    text = text.removesuffix("%")
    text = text.replace(",", "") if mark == "." else text.replace(".", "").replace(",", ".")
    try:
        return float(text) / 100.0 if percent else float(text)
    except ValueError:
        return _NAN


def _of_object(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return _NAN
