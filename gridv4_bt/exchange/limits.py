"""Rate limits: request weight per minute, and orders per 10 seconds and per minute."""

from dataclasses import dataclass

from gridv4_bt.core.time import MINUTE_MS
from gridv4_bt.exchange.api_errors import ApiError

TEN_SECONDS = 10_000
BANNED_AFTER = 10  #: refused requests in a minute that turn 429 into 418
BAN = 2 * MINUTE_MS


class TooMany(ApiError):
    """A rate limit is exceeded; retry after `wait` seconds."""

    def __init__(self, code: int, *details: object, wait: int, text: str = "", status: int = 0) -> None:
        super().__init__(code, *details, text=text, status=status)
        self.wait = wait


@dataclass(slots=True)
class Window:
    """A counter that starts anew in each span of time."""

    length: int  #: ms
    limit: float  #: infinity for none
    span: int = 0
    count: int = 0

    def roll(self, now: int) -> None:
        """Reset the count if a new span has begun."""
        if now // self.length != self.span:
            self.span, self.count = now // self.length, 0

    def left(self, now: int) -> int:
        """Return the seconds until the span ends, at least 1."""
        return max(-(-((self.span + 1) * self.length - now) // 1000), 1)


class Limits:
    """The rate limits of one IP address and one account, on the server's time."""

    def __init__(self, weight: float = 2400, orders_10s: float = 300, orders_1m: float = 1200) -> None:
        self._weight = Window(MINUTE_MS, weight)
        self._orders = {"10S": Window(TEN_SECONDS, orders_10s), "1M": Window(MINUTE_MS, orders_1m)}
        self._refused = 0
        self._banned_until = 0
        self._ban = self._longest_ban = 0  # ms; of a ban that each request inside it doubles

    def ban(self, seconds: int, longest: int, now: int) -> None:
        """Ban the address for some seconds; each request inside the ban begins it anew, twice as long, up to a longest.

        The request that is being answered is the first one inside it and does not yet lengthen it.
        """
        self._banned_until = now + 1000 * seconds
        self._ban, self._longest_ban = 500 * seconds, 1000 * max(longest, seconds)

    def banned(self, now: int) -> bool:
        """Return whether a ban is in force."""
        return now < self._banned_until

    def lift(self) -> None:
        """End any ban."""
        self._banned_until = self._ban = 0

    def spend(self, weight: int, orders: int, now: int) -> dict[str, str]:
        """Count a request and return its rate limit headers, or raise `TooMany`."""
        if self.banned(now):
            if self._ban:
                self._ban = min(2 * self._ban, self._longest_ban)
                self._banned_until = max(self._banned_until, now + self._ban)
            text = f"Way too many requests; IP banned until {self._banned_until}."
            raise TooMany(-1003, text=text, status=418, wait=-(-(self._banned_until - now) // 1000))
        self._ban = 0
        window = self._weight
        window.roll(now)
        window.count += weight
        if window.count > window.limit:
            self._refused += 1
            if self._refused > BANNED_AFTER:
                self._banned_until, self._refused = now + BAN, 0
            raise TooMany(-1003, f"{window.limit:g}", wait=window.left(now))
        headers = {"X-MBX-USED-WEIGHT-1M": str(window.count)}
        if not orders:
            return headers
        self._refused = 0
        for name, window in self._orders.items():
            window.roll(now)
            if window.count + orders > window.limit:
                raise TooMany(-1015, f"{window.limit:g}", name, wait=window.left(now))
        for name, window in self._orders.items():
            window.count += orders
            headers[f"X-MBX-ORDER-COUNT-{name}"] = str(window.count)
        return headers

    def rows(self) -> list[dict[str, object]]:
        """Return the `rateLimits` of exchangeInfo."""
        found = [
            ("REQUEST_WEIGHT", "MINUTE_MS", 1, self._weight),
            ("ORDERS", "SECOND", 10, self._orders["10S"]),
            ("ORDERS", "MINUTE_MS", 1, self._orders["1M"]),
        ]
        return [
            {"rateLimitType": kind, "interval": unit, "intervalNum": count, "limit": int(window.limit)}
            for kind, unit, count, window in found
            if window.limit < float("inf")
        ]
