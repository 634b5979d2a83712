"""The failure that an exception or an answer means: the code decides first, ccxt's exception class second.

ccxt's classes are not enough: it reports -2023 (being liquidated) as temporary, "only closing is allowed" as a wrong
key, and an incomplete body as a plain ExchangeError although the order exists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ccxt

from feeds.exchange import http_status
from feeds.patience import retry_after
from gridv4_bt.errors import place_of_code
from gridv4_bt.live.error_codes import ROWS, CodeRow, Reaction

R = Reaction

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

    @property
    def row(self) -> CodeRow | None:
        """What is known about its code, None if nothing is."""
        return None if self.code is None else ROWS.get(self.code)

    @property
    def told(self) -> str:
        """The text for a person, with the place in the documentation that explains its code."""
        return self.text if self.row is None or self.code is None else f"{self.text} ({place_of_code(self.code)})"


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
        return Failure(_reaction(code), code, text)
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
    return Failure(_reaction(code), code, str(answer.get("msg", ""))[:200])


def _reaction(code: int) -> Reaction:
    return ROWS[code].reaction if code in ROWS else R.SKIP


def _message(words: str) -> str:
    """Return the exchange's answer without the URL, which contains the signature."""
    start = words.find("{")
    return (words[start:] if start >= 0 else re.sub(r"https?://\S+", "", words))[:200]
