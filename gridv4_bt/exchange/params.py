"""The parameters of a request, its signature and its timestamp."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from typing import overload
from urllib.parse import parse_qsl

from gridv4_bt.exchange.api_errors import ApiError

DEFAULT_WINDOW = 5_000  #: recvWindow, ms
LONGEST_WINDOW = 60_000  #: ms
AHEAD = 1_000  #: how far a timestamp may be ahead of the server, ms


class Params:
    """The parameters of a request, from its query string and its form body."""

    def __init__(self, query: str, body: str) -> None:
        self.values = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))

    def text(self, name: str, default: str | None = None, one_of: Collection[str] = (), code: int = -1130) -> str:
        """Return a text; -1102 if it is missing and has no default, `code` if it is none of `one_of`."""
        value = self.values.get(name) or default
        if value is None:
            raise ApiError(-1102, name)
        if one_of and value not in one_of:
            raise ApiError(code, name)
        return value

    @overload
    def integer(self, name: str, default: int, low: int = 0, high: int = 1 << 62) -> int: ...

    @overload
    def integer(self, name: str, default: None = None, low: int = 0, high: int = 1 << 62) -> int | None: ...

    def integer(self, name: str, default: int | None = None, low: int = 0, high: int = 1 << 62) -> int | None:
        """Return a whole number, or the default; -1130 if it is none or out of bounds."""
        value = self.values.get(name)
        if not value:
            return default
        try:
            number = int(value)
        except ValueError:
            raise ApiError(-1130, name) from None
        if not low <= number <= high:
            raise ApiError(-1130, name)
        return number

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number; -1102 if it is missing and has no default."""
        value = self.values.get(name)
        if not value:
            if default is None:
                raise ApiError(-1102, name)
            return default
        try:
            number = float(value)
        except ValueError:
            raise ApiError(-1102, name) from None
        if not abs(number) < float("inf"):
            raise ApiError(-1102, name)
        return number

    def flag(self, name: str) -> bool:
        """Return a boolean, False if it is missing."""
        return self.text(name, "false", ("true", "false", "True", "False", "TRUE", "FALSE")).lower() == "true"


def check_signature(query: str, body: str, headers: Mapping[str, str], key: str, secret: str) -> None:
    """Check that a request is signed with the account's key."""
    given = headers.get("X-MBX-APIKEY", "")
    if not given:
        raise ApiError(-2014)
    if given != key:
        raise ApiError(-2015)
    total = query + body
    signed, _, signature = total.rpartition("signature=")
    if not signature:
        raise ApiError(-1102, "signature")
    expected = hmac.new(secret.encode(), signed.rstrip("&").encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, expected):
        raise ApiError(-1022)


def check_timestamp(params: Params, now: int) -> None:
    """Check that a timestamp is within the recvWindow and not ahead of the server; times in ms."""
    timestamp = params.integer("timestamp")
    if timestamp is None:
        raise ApiError(-1102, "timestamp")
    window = params.integer("recvWindow", DEFAULT_WINDOW, high=LONGEST_WINDOW)
    if timestamp >= now + AHEAD:
        raise ApiError(-1021, text=f"Timestamp for this request was {AHEAD}ms ahead of the server's time.")
    if now - timestamp > window:
        raise ApiError(-1021)
