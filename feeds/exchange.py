"""The public market data of an exchange through ccxt: pages of any series, the clock, the market's rules.

Exchanges page differently: oldest or newest row first, 100 to 1,000 rows, more or fewer than asked for. So pages
are asked for by time alone, and whatever a page lacks is asked for again until it is answered with nothing twice.
"""

from __future__ import annotations

import difflib
import errno
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import ccxt
import numpy as np
import requests

from feeds.patience import LONGEST_WAIT, Passing, Patience, retry_after, weight_pause
from feeds.series import BadRows, Series, Span
from gridv4_bt.core.time import HOUR_MS, iso
from gridv4_bt.engine.market import exchange_symbol, load_market
from gridv4_bt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

#: Rows a page may have. Candles and mark candles are as many bars, funding as many hours: none is settled more often.
PAGE_ROWS = {
    "binanceusdm": {"candles": 1000, "mark": 1000, "funding": 1000},
    "bybit": {"candles": 1000, "mark": 1000, "funding": 200},
    "okx": {"candles": 300, "mark": 100, "funding": 100},
}
_OPTIONS: dict[str, dict[str, Any]] = {
    # Without these ccxt asks for currencies and margin pairs of the spot market, which many may not reach.
    "binanceusdm": {
        "defaultType": "swap", "defaultSubType": "linear", "fetchMarkets": {"types": ["linear"]},
        "fetchCurrencies": False, "fetchMargins": False,
    },
    "bybit": {"defaultType": "swap", "fetchMarkets": {"types": ["linear"]}},
    "okx": {"defaultType": "swap", "fetchMarkets": {"types": ["swap"]}},
}  # fmt: skip
_OLDEST_MS = 1_230_768_000_000  # 2009-01-01: no crypto market is older
_PAUSE = {"binanceusdm": 60.0}  # seconds to wait after "too many requests" without a Retry-After


def make_client(exchange: str, session: requests.Session | None = None) -> ccxt.Exchange:
    """Return the ccxt client of an exchange, without a key.

    Raises
    ------
    DataError
        The exchange is none of those in `PAGE_ROWS`.
    """
    if exchange not in PAGE_ROWS:
        raise DataError(f"exchange {exchange!r} is unknown: use one of {', '.join(PAGE_ROWS)}")
    options = {"enableRateLimit": True, "timeout": 10_000, "requests_trust_env": True, "options": _OPTIONS[exchange]}
    if session is not None:
        options["session"] = session
    return getattr(ccxt, exchange)(options)


class Unavailable(OSError):
    """The exchange cannot be reached, or does not answer correctly after repeated requests."""


class MarketDataClient:
    """A client of the public data of one exchange, which repeats failed requests.

    Parameters
    ----------
    client: a ccxt client such as that of `make_client`; with a key it also loads the brackets
    sleep: waits for seconds
    """

    def __init__(self, client: ccxt.Exchange, sleep: Callable[[float], None] = time.sleep) -> None:
        client.enableLastJsonResponse = True
        self.client = client
        self.patience = Patience(sleep)
        self._answered = False
        self._markets: dict[str, dict[str, Any]] = {}

    @property
    def session(self) -> requests.Session:
        """The connection of the client."""
        return self.client.session

    def server_time(self) -> int:
        """Return the exchange's clock, ms UTC."""
        now = self.ask(self.client.fetch_time)
        if not isinstance(now, int):
            raise Unavailable(errno.EIO, "tells no time: run again later", self.client.id)
        return now

    def market(self, symbol: str) -> dict[str, Any]:
        """Return ccxt's description of a linear perpetual.

        Raises
        ------
        DataError
            The exchange has no such perpetual.
        """
        if not self._markets:
            markets = self.ask(self.client.load_markets)
            linear = [market for market in markets.values() if market["swap"] and market["linear"]]
            self._markets = {market["base"] + market["quote"]: market for market in linear}
        name = exchange_symbol(symbol)
        if name not in self._markets:
            near = difflib.get_close_matches(name, self._markets, n=3, cutoff=0.5)
            cure = ", ".join(self._markets[other]["symbol"] for other in near) or "another symbol"
            raise DataError(f"{self.client.id} has no linear perpetual {symbol}. Try {cure}.")
        return self._markets[name]

    def first_time(self, symbol: str, series: Series) -> int | None:
        """Return the time of the exchange's first row, or of the listing if it has none; None without any row."""
        market = self.market(symbol)
        listed = market.get("created") or _OLDEST_MS
        if self.client.id == "binanceusdm":  # answers oldest first; its listing dates are later than its first bars
            rows = np.empty((0, len(series.columns)))
            for _ in range(2):
                if not len(rows):
                    rows = self.ask(lambda: self._page(market, series, (_OLDEST_MS, 0), limit=1))
            if not len(rows):
                return None
            first = int(rows[0, 0])
            before = (first - self._width(series), first)
            if not len(self.ask(lambda: self._page(market, series, before))):
                listed = first
        step = series.step_ms or 1
        return -(-listed // step) * step

    def rows(self, symbol: str, series: Series, span: Span) -> tuple[pd.DataFrame, list[Span]]:
        """Return the rows of a span as a table, and the holes in it; see `array`."""
        rows, holes = self.array(symbol, series, span)
        return series.table(rows), holes

    def array(self, symbol: str, series: Series, span: Span) -> tuple[np.ndarray, list[Span]]:
        """Return the rows of a span, a column for each of the series, and the holes twice answered with nothing.

        A live bot takes the array: it does without pandas.
        """
        market = self.market(symbol)
        width = self._width(series)
        todo = deque((first, min(first + width, span[1]), 0) for first in range(*span, width))
        pages, holes = [], []
        while todo:
            first, end, blanks = todo.popleft()
            page = self.ask(lambda window=(first, end): self._page(market, series, window))
            pages.append(page)
            missing = series.missing(page[:, 0].astype(np.int64), (first, end))
            if len(page):
                todo.extend((*hole, 0) for hole in missing)
            elif missing and blanks:
                holes += missing
            else:
                todo.extend((*hole, blanks + 1) for hole in missing)
        rows = np.concatenate(pages) if pages else np.empty((0, len(series.columns)))
        return series.clean_array(rows, span), sorted(holes)

    def rules(self, symbol: str) -> dict[str, Any]:
        """Return a market's filters and brackets as an entry of `gridv4_bt/markets.json`.

        Brackets are those of the packaged table unless the client has a key.
        """
        market, packaged = self.market(symbol), load_market(symbol)
        size = Decimal(str(market.get("contractSize") or 1))  # quantities are in contracts
        today = iso(self.client.milliseconds())[:10]
        rules = {
            "tick": float(market["precision"]["price"]),
            "step": float(Decimal(str(market["precision"]["amount"])) * size),
            "min_qty": float(Decimal(str(market["limits"]["amount"]["min"])) * size),
            "min_notional": float(market["limits"]["cost"]["min"] or 0.0),
            "filters_as_of": f"{today}, {self.client.id}",
            "brackets_as_of": packaged.as_of.partition("; brackets ")[2],
            "brackets": [
                [row.floor, row.cap, row.rate, row.amount, leverage]
                for row, leverage in zip(packaged.brackets, packaged.max_leverages, strict=True)
            ],
        }
        if self.client.id == "binanceusdm" and self.client.apiKey:
            tiers = self.ask(lambda: self.client.fetch_leverage_tiers([market["symbol"]]))[market["symbol"]]
            rules["brackets"] = [
                [
                    tier["minNotional"],
                    tier["maxNotional"],
                    tier["maintenanceMarginRate"],
                    float(tier["info"]["cum"]),
                    tier["maxLeverage"],
                ]
                for tier in tiers
            ]
            rules["brackets_as_of"] = f"{today}, {self.client.id}"
        return rules

    def _width(self, series: Series) -> int:
        """Return how long a span one page can hold, ms."""
        return PAGE_ROWS[self.client.id][series.kind] * (series.step_ms or HOUR_MS)

    def _page(self, market: dict[str, Any], series: Series, window: Span, limit: int | None = None) -> np.ndarray:
        """Return one page of rows; with a limit the first ones of all."""
        first, end = window
        params: dict[str, Any] = {} if limit else {"until": end - 1}
        rows_asked = limit or PAGE_ROWS[self.client.id][series.kind]
        if series.kind == "funding":
            if self.client.id == "okx":  # its "until" is called otherwise, and excludes
                params = {"after": end}
            found = self.client.fetch_funding_rate_history(market["symbol"], first, rows_asked, params)
            rows = [(row["timestamp"], row["fundingRate"]) for row in found]
        else:
            if series.kind == "mark":
                params["price"] = "mark"
            if not limit:
                rows_asked = min((end - first) // series.step_ms, rows_asked)
            found = self.client.fetch_ohlcv(market["symbol"], series.interval, first, rows_asked, params)
            rows = [row[: len(series.columns)] for row in found]
        table = np.array(rows, dtype=np.float64).reshape(-1, len(series.columns))
        if not np.isfinite(table).all():
            raise BadRows(f"{series.name}: an answer lacks values")
        return series.clean_array(table, (first, end or int(table[-1, 0]) + 1 if len(table) else end))

    def ask(self, question: Callable[[], T]) -> T:
        """Return an answer of the exchange; give up early while it has never answered, late after that."""
        try:
            answer = self.patience(lambda: self._ask_once(question), None if self._answered else 3)
        except Passing as failure:
            raise self._given_up(failure) from failure
        self._slow_down()
        return answer

    def _ask_once(self, question: Callable[[], T]) -> T:
        client = self.client
        client.last_json_response = client.last_http_response = client.last_response_headers = None
        try:
            answer = question()
        except ccxt.BaseError as error:
            status = http_status(error)
            self._answered |= status is not None
            if status == 451:  # unavailable for legal reasons
                cure = "does not serve this country: give --data or another --exchange"
                raise Unavailable(errno.EACCES, cure, client.id) from error
            wait = None
            if status in (418, 429) or isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
                wait = retry_after(client.last_response_headers, _PAUSE.get(client.id, 5.0))
            if wait is not None or (status or 0) >= 500 or isinstance(error, ccxt.OperationFailed):
                raise Passing(str(error), wait) from error
            raise DataError(f"{client.id} refuses: {' '.join(str(error).split())[:300]}. Check the request.") from error
        except (BadRows, TypeError, ValueError, LookupError, AttributeError) as error:
            raise Passing(f"{client.id} answers what cannot be read: {error}") from error
        self._answered = True
        if client.last_http_response is not None and client.last_json_response is None:
            raise Passing(f"{client.id} answers what is not JSON")
        return answer

    def _slow_down(self) -> None:
        """Wait for the next minute when most of the weight that Binance allows in this one is used."""
        pause = weight_pause(self.client.last_response_headers, self.client.milliseconds())
        if pause > 0.0:
            self.patience.sleep(pause)

    def _given_up(self, failure: Passing) -> Unavailable:
        name, text = self.client.id, " ".join(str(failure).split())[:200]
        if (failure.retry_after or 0.0) > LONGEST_WAIT:
            cure = f"wait {failure.retry_after / 60:.0f} minutes and run again; what was loaded is kept"
            return Unavailable(errno.EBUSY, f"bans this address for a while: {cure}", name)
        if not self._answered:
            return Unavailable(errno.ENETUNREACH, f"cannot be reached ({text}): check the network", name)
        return Unavailable(errno.EIO, f"keeps failing ({text}): run again later; what was loaded is kept", name)


def http_status(error: BaseException | None) -> int | None:
    """Return the status of the answer that an error is about; ccxt keeps it only in what the error comes from."""
    while error is not None:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return error.response.status_code
        error = error.__cause__ or error.__context__
    return None
