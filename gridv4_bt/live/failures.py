"""Error codes of the exchange and the reaction to each: the code decides first, ccxt's exception class second.

ccxt's classes are not enough: it reports -2023 (being liquidated) as temporary, "only closing is allowed" as a wrong
key, and an incomplete body as a plain ExchangeError although the order exists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import ccxt

from feeds.exchange import http_status
from feeds.patience import retry_after


class Reaction(StrEnum):
    """The reaction to a failure."""

    UNKNOWN = "unknown"  #: the request may have been executed: query the order by its client id
    RETRY = "retry"  #: it was not executed: wait a little and send it again
    WAIT = "wait"  #: too many requests: send nothing for a while
    WAIT_ORDERS = "wait_orders"  #: too many orders: place none for a while, other requests may go on
    RESYNC_CLOCK = "resync_clock"  #: synchronise the clock and send it again once
    REPRICE = "reprice"  #: a post-only order would have crossed: place it a tick away, or at the next bar
    GONE = "gone"  #: the order is not open any more: query it
    ADOPT = "adopt"  #: an earlier attempt has this id: query it
    SUCCESS = "success"  #: already set as requested
    SKIP = "skip"  #: not at this price or size: give up, the next bar decides anew
    REQUANTISE = "requantise"  #: the filters have changed: read the markets and round again, once
    SMALLER = "smaller"  #: the book is too thin for this market order
    STOP_ADDING = "stop_adding"  #: the exchange accepts no entries for now
    FEWER_ORDERS = "fewer_orders"  #: too many open orders: cancel the entry farthest from the market
    CLOSE_NOW = "close_now"  #: the price has passed the stop: close at market
    RESYNC = "resync"  #: the position is smaller than the books say: read positions and trades
    LOCKED_OUT = "locked_out"  #: key or clock are refused: try for minutes, it may pass; then a person is needed
    HALT = "halt"  #: a person is needed
    BUG = "bug"  #: the request was wrong: never send it again


R = Reaction

#: Codes of Binance's official list and of measurements; any other code is `Reaction.SKIP`.
BY_CODE: Mapping[int, Reaction] = {
    -1000: R.UNKNOWN, -1001: R.UNKNOWN, -1006: R.UNKNOWN, -1007: R.UNKNOWN,
    -1003: R.WAIT, -1015: R.WAIT_ORDERS, -1008: R.RETRY,
    -1021: R.RESYNC_CLOCK, -5028: R.RESYNC_CLOCK,
    -1022: R.LOCKED_OUT, -2014: R.LOCKED_OUT, -2015: R.LOCKED_OUT, -2023: R.HALT, -4061: R.HALT,
    -4067: R.HALT, -4068: R.HALT, -4047: R.HALT, -4048: R.HALT, -4531: R.HALT,
    -2010: R.SKIP, -4016: R.SKIP, -4024: R.SKIP, -4164: R.SKIP,
    -2011: R.GONE, -2013: R.GONE,
    -2018: R.STOP_ADDING, -2019: R.STOP_ADDING, -2024: R.STOP_ADDING, -2027: R.STOP_ADDING, -2028: R.STOP_ADDING,
    -4087: R.STOP_ADDING, -4088: R.STOP_ADDING, -4192: R.STOP_ADDING, -4400: R.STOP_ADDING,
    -2020: R.SKIP, -4130: R.SKIP, -2021: R.CLOSE_NOW, -4142: R.CLOSE_NOW,
    -2022: R.RESYNC, -4118: R.RESYNC,
    -2025: R.FEWER_ORDERS, -4045: R.FEWER_ORDERS,
    -4059: R.SUCCESS, -4046: R.SUCCESS, -5027: R.SUCCESS,
    -4116: R.ADOPT, -5021: R.REPRICE, -5022: R.REPRICE,
    -1111: R.REQUANTISE, -4014: R.REQUANTISE, -4023: R.REQUANTISE, -4003: R.REQUANTISE, -4004: R.REQUANTISE,
    -4005: R.REQUANTISE, -4013: R.REQUANTISE,
    -4131: R.SMALLER,
    -1102: R.BUG, -1106: R.BUG, -1116: R.BUG, -1128: R.BUG, -1130: R.BUG, -4060: R.BUG, -4120: R.BUG,
}  # fmt: skip

_CODE = re.compile(r'"code"\s*:\s*"?(-?\d+)')
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
#: Seconds to wait if the exchange does not say how long: after a rate limit, after the firewall.
_PAUSE, _FIREWALL_PAUSE = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason of a failed request and the reaction to it."""

    reaction: Reaction
    code: int | None  #: the exchange's error code, None without one
    text: str  #: for the log: the exchange's message without the request
    wait: float = 0.0  #: seconds to send nothing


def classify(error: Exception, headers: Mapping[str, str] | None = None, now_ms: int = 0) -> Failure:
    """Return the failure that an exception of ccxt means.

    Parameters
    ----------
    error : raised by ccxt.
    headers : of the answer, for Retry-After.
    now_ms : the exchange's clock, for "banned until".
    """
    words = " ".join(str(error).split())
    found = _CODE.search(words)
    code = int(found[1]) if found else None
    status = http_status(error)
    text = f"{type(error).__name__}: {_message(words)}"
    if status in (418, 429) or (isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded) and code != -1015):
        banned = _BANNED_UNTIL.search(words)
        wait = retry_after(headers, _PAUSE)
        if banned and now_ms:
            wait = max(wait, (int(banned[1]) - now_ms) / 1000.0)
        return Failure(R.WAIT_ORDERS if code == -1015 else R.WAIT, code, text, wait)
    if status == 403:
        return Failure(R.WAIT, code, text, _FIREWALL_PAUSE)
    if code == -1015:
        return Failure(R.WAIT_ORDERS, code, text, retry_after(headers, 10.0))
    if code == -1001 and "Service Unavailable" in words:
        return Failure(R.RETRY, code, text)  # documented as not executed, unlike the others of this code
    if code is not None:
        return Failure(BY_CODE.get(code, R.SKIP), code, text)
    if isinstance(error, ccxt.AuthenticationError) and not isinstance(error, ccxt.PermissionDenied):
        return Failure(R.LOCKED_OUT, None, text)
    if isinstance(error, ccxt.OperationFailed) or type(error) in (ccxt.ExchangeError, ccxt.BadResponse):
        if isinstance(error, ccxt.ExchangeNotAvailable) and "Service Unavailable." in words:
            return Failure(R.RETRY, None, text)
        return Failure(R.UNKNOWN, None, text)
    if isinstance(error, ccxt.BaseError):
        return Failure(R.BUG, None, text)  # raised by ccxt itself, nothing was sent
    return Failure(R.UNKNOWN, None, text)


def classify_refusal(answer: Mapping[str, Any]) -> Failure:
    """Return the failure of one order of a batch, from its answer ``{"code": ..., "msg": ...}``."""
    code = int(answer["code"])
    return Failure(BY_CODE.get(code, R.SKIP), code, str(answer.get("msg", ""))[:200])


def _message(words: str) -> str:
    """Return the exchange's answer without the URL, which contains the signature."""
    start = words.find("{")
    return (words[start:] if start >= 0 else re.sub(r"https?://\S+", "", words))[:200]
