"""An exchange on 127.0.0.1: candles, mark, funding, market and archive of Binance, Bybit and OKX, with faults on order.

The real ccxt clients talk to it without noticing: `wired_client` leaves them as they are but for the connection, in
which the exchanges' addresses lead here and every other one is refused.
"""

import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import requests

from gridv4_bt.exchange import client

MINUTE, HOUR = 60_000, 3_600_000
QUARTER = 15 * MINUTE
HOSTS = ("fapi.binance.com", "data.binance.vision", "api.bybit.com", "www.okx.com")


def truth(first: int, bars: int, step: int = QUARTER, seed: int = 1) -> np.ndarray:
    """Rows of time, open, high, low, close, volume with two decimals."""
    rng = np.random.default_rng(seed)
    close = np.round(40_000 * np.exp(np.cumsum(rng.normal(0, 0.0005, bars))), 2)
    open_ = np.concatenate(([40_000.0], close[:-1]))
    high = np.round(np.maximum(open_, close) + rng.integers(0, 5000, bars) / 100, 2)
    low = np.round(np.minimum(open_, close) - rng.integers(0, 5000, bars) / 100, 2)
    volume = np.round(rng.random(bars) * 500, 3)
    return np.column_stack((first + step * np.arange(bars), open_, high, low, close, volume))


def settled(first: int, count: int, pause: int = 8 * HOUR, seed: int = 2) -> np.ndarray:
    """Rows of time and rate, some stamped milliseconds late."""
    rng = np.random.default_rng(seed)
    time_ms = first + pause * np.arange(count) + rng.integers(0, 10, count)
    return np.column_stack((time_ms, np.round(rng.normal(1e-4, 1e-4, count), 8)))


class FakeExchange:
    """What is served: `candles`, `mark`, `funding` as arrays, the clock `now`, and the archive of `archived` months.

    `fault(path, action, skip=0, times=1)` spoils the answers to addresses that contain `path`, after `skip` good ones.
    An action is a status (with headers) or a function that gets the body and returns another one; None drops the
    connection in the middle of the body.
    """

    def __init__(self, candles: np.ndarray, funding: np.ndarray, mark: np.ndarray, now: int) -> None:
        self.candles, self.funding, self.mark, self.now = candles, funding, mark, now
        self.archived: set[str] = set()
        self.header = True  # of archive files
        self.page_limit = 1500  # the most rows of any page
        self.weight = 1
        self.requests: list[str] = []
        self._faults: list[list] = []
        self._lock = threading.Lock()
        self._zips: dict[str, bytes] = {}

    def fault(self, path: str, action: object, skip: int = 0, times: int = 1, **headers: str) -> None:
        self._faults.append([path, action, skip, times, headers])

    def heal(self) -> None:
        """Forget the faults."""
        with self._lock:
            self._faults.clear()

    def asked(self, part: str) -> int:
        """How many requests had this in their address."""
        return sum(part in address for address in self.requests)

    @contextmanager
    def serving(self):
        """Serve; gives the address."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                fake.answer(self)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        with self._lock:
            self.requests.append(request.path)
            action, extra = self._next_fault(request.path)
        status, body = self._serve(parts.path, query)
        headers = {"Content-Type": "application/json", "X-MBX-USED-WEIGHT-1M": str(self.weight)} | extra
        if isinstance(action, int):
            status, body = action, b'{"code":-1003,"msg":"Too many requests"}' if action < 500 else b"<html></html>"
        elif callable(action):
            body = action(body)
        cut = action is None
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            request.wfile.write(body[: len(body) // 2] if cut else body)
        except OSError:
            cut = True
        request.close_connection = cut

    def _next_fault(self, address: str) -> tuple[object, dict]:
        for fault in self._faults:
            if fault[0] in address:
                if fault[2] > 0:
                    fault[2] -= 1
                elif fault[3] > 0:
                    fault[3] -= 1
                    return fault[1], fault[4]
        return "", {}

    def _serve(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        for pattern, serve in self._routes.items():
            if re.search(pattern, path):
                answer = serve(self, query) if "monthly" not in pattern else self._archive_file(path)
                if answer is None:
                    return 404, b"<Error><Code>NoSuchKey</Code></Error>"
                return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return 404, b'{"code":-5000,"msg":"no such path"}'

    # --- Binance: oldest first, both ends inclusive ---------------------------------------------------------------

    def _binance_rows(self, rows: np.ndarray, query: dict[str, str], most: int) -> np.ndarray:
        first, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
        limit = min(int(query.get("limit", 500)), most, self.page_limit)
        return self._span(rows, first, end)[:limit]

    def _binance_klines(self, query):
        step = int(query["interval"][:-1]) * MINUTE
        return [_kline(row, step) for row in self._binance_rows(self.candles, query, 1500)]

    def _binance_mark(self, query):
        step = int(query["interval"][:-1]) * MINUTE
        return [_kline(row, step) for row in self._binance_rows(self.mark, query, 1500)]

    def _binance_funding(self, query):
        rows = self._binance_rows(self.funding, query, 1000)
        return [
            {"symbol": query["symbol"], "fundingTime": int(row[0]), "fundingRate": f"{row[1]:.8f}", "markPrice": "1"}
            for row in rows
        ]

    def _binance_info(self, query):
        return {"serverTime": self.now, "symbols": [_binance_symbol(base) for base in ("BTC", "ETH", "DOGE")]}

    def _binance_brackets(self, query):
        rows = [
            {
                "bracket": 1,
                "initialLeverage": 125,
                "notionalCap": 1000,
                "notionalFloor": 0,
                "maintMarginRatio": 0.004,
                "cum": 0.0,
            },
            {
                "bracket": 2,
                "initialLeverage": 50,
                "notionalCap": 9000,
                "notionalFloor": 1000,
                "maintMarginRatio": 0.01,
                "cum": 6.0,
            },
        ]
        return [{"symbol": base + "USDT", "brackets": rows} for base in ("BTC", "ETH")]

    def _archive_file(self, path: str) -> bytes | None:
        name = path.rsplit("/", 1)[1].removesuffix(".CHECKSUM").removesuffix(".zip")
        month = name[-7:]
        if month not in self.archived:
            return None
        kind = path.split("/monthly/")[1].split("/")[0]
        if path not in self._zips:
            content = _zip(f"{name}.csv", self._archive_csv(kind, month))
            checksum = f"{hashlib.sha256(content).hexdigest()}  {name}.zip\n".encode()
            base = path.removesuffix(".CHECKSUM")
            self._zips |= {base: content, f"{base}.CHECKSUM": checksum}
        return self._zips[path]

    def _archive_csv(self, kind: str, month: str) -> str:
        first = np.datetime64(month, "M")
        edges = (first, first + np.timedelta64(1, "M"))
        begin, end = (int(edge.astype("datetime64[ms]").astype(int)) for edge in edges)
        if kind == "fundingRate":
            names, rows = "calc_time,funding_interval_hours,last_funding_rate", self._span(self.funding, begin, end - 1)
            lines = [f"{int(row[0])},8,{row[1]:.8f}" for row in rows]
        else:
            table = self.candles if kind == "klines" else self.mark
            names = (
                "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
                "taker_buy_volume,taker_buy_quote_volume,ignore"
            )
            lines = [",".join(map(str, _kline(row, QUARTER))) for row in self._span(table, begin, end - 1)]
        return "\n".join(([names] if self.header else []) + lines) + "\n"

    # --- Bybit: newest first, both ends inclusive -----------------------------------------------------------------

    def _bybit(self, rows: list) -> dict:
        return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows}, "time": self.now}

    def _bybit_rows(self, rows, query, first, end, most):
        limit = min(int(query.get("limit", 200)), most, self.page_limit)
        found = self._span(rows, int(query.get(first, 0)), int(query.get(end, 1 << 60)))
        return found[::-1][:limit]

    def _bybit_klines(self, query):
        rows = self._bybit_rows(self.candles, query, "start", "end", 1000)
        return self._bybit([[*_texts(row), "1"] for row in rows])

    def _bybit_mark(self, query):
        return self._bybit([_texts(row[:5]) for row in self._bybit_rows(self.mark, query, "start", "end", 1000)])

    def _bybit_funding(self, query):
        rows = self._bybit_rows(self.funding, query, "startTime", "endTime", 200)
        return self._bybit(
            [{"symbol": "BTCUSDT", "fundingRate": f"{r[1]:.8f}", "fundingRateTimestamp": str(int(r[0]))} for r in rows]
        )

    def _bybit_info(self, query):
        entry = {
            "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC",
            "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": str(int(self.candles[0, 0])), "deliveryTime": "0",
            "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
            "lotSizeFilter": {"minOrderQty": "0.001", "maxOrderQty": "9", "qtyStep": "0.001", "minNotionalValue": "5"},
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100"}, "fundingInterval": 480,
        }  # fmt: skip
        return self._bybit([entry] if "PreLaunch" not in query.values() else [])

    # --- OKX: newest first, both ends exclusive -------------------------------------------------------------------

    def _okx_rows(self, rows, query, most):
        after, before = int(query.get("after", 1 << 60)), int(query.get("before", 0))
        limit = min(int(query.get("limit", 100)), most, self.page_limit)
        return self._span(rows, before + 1, after - 1)[::-1][:limit]

    def _okx_candles(self, query):
        rows = self._okx_rows(self.candles, query, 300)
        return {"code": "0", "msg": "", "data": [[*_texts(r[:5]), "99", _number(r[5]), "1", "1"] for r in rows]}

    def _okx_mark(self, query):
        return {"code": "0", "msg": "", "data": [[*_texts(r[:5]), "1"] for r in self._okx_rows(self.mark, query, 100)]}

    def _okx_funding(self, query):
        rows = self._okx_rows(self.funding, query, 100)
        data = [{"fundingTime": str(int(row[0])), "realizedRate": f"{row[1]:.8f}"} for row in rows]
        return {"code": "0", "msg": "", "data": [{"instId": "BTC-USDT-SWAP"} | row for row in data]}

    def _okx_info(self, query):
        entry = {
            "instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT", "instFamily": "BTC-USDT",
            "settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC", "ctType": "linear",
            "tickSz": "0.1", "lotSz": "0.01", "minSz": "0.01", "lever": "100", "state": "live",
            "listTime": str(int(self.candles[0, 0])), "baseCcy": "", "quoteCcy": "",
        }  # fmt: skip
        return {"code": "0", "msg": "", "data": [entry]}

    def _span(self, rows: np.ndarray, first: int, last: int) -> np.ndarray:
        """The rows from first to last; of those that open after now nobody knows."""
        time_ms = rows[:, 0]
        return rows[time_ms.searchsorted(first) : time_ms.searchsorted(min(last, self.now), side="right")]

    _routes: dict[str, Callable] = {
        r"/fapi/v1/time$": lambda self, query: {"serverTime": self.now},
        r"/fapi/v1/exchangeInfo$": _binance_info,
        r"/fapi/v1/klines$": _binance_klines,
        r"/fapi/v1/markPriceKlines$": _binance_mark,
        r"/fapi/v1/fundingRate$": _binance_funding,
        r"/fapi/v1/leverageBracket$": _binance_brackets,
        r"/data/futures/um/monthly/": None,
        r"/v5/market/time$": lambda self, query: {"retCode": 0, "result": {}, "time": self.now},
        r"/v5/market/instruments-info$": _bybit_info,
        r"/v5/market/kline$": _bybit_klines,
        r"/v5/market/mark-price-kline$": _bybit_mark,
        r"/v5/market/funding/history$": _bybit_funding,
        r"/api/v5/public/time$": lambda self, query: {"code": "0", "data": [{"ts": str(self.now)}]},
        r"/api/v5/public/instruments$": _okx_info,
        r"/api/v5/market/(history-)?candles$": _okx_candles,
        r"/api/v5/market/(history-)?mark-price-candles$": _okx_mark,
        r"/api/v5/public/funding-rate-history$": _okx_funding,
    }  # fmt: skip


def wired_session(base: str | None) -> requests.Session:
    """A session in which the exchanges' hosts are the local server and all others are refused; None: all are."""
    return client.wired_session(base, HOSTS)


def connector(base: str | None, sleep: Callable[[float], None] = lambda seconds: None, **settings: object):
    """A `connect` for `load_history`: the real client, wired, which does not wait between its requests."""
    from feeds.exchange import MarketDataClient, make_client

    def connect(exchange: str) -> MarketDataClient:
        wired = make_client(exchange, wired_session(base))
        wired.enableRateLimit = False
        for name, value in settings.items():
            setattr(wired, name, value)
        return MarketDataClient(wired, sleep)

    return connect


def _number(value: float) -> str:
    return f"{value:.3f}"


def _texts(row: np.ndarray) -> list[str]:
    return [str(int(row[0])), *map(_number, row[1:])]


def _kline(row: np.ndarray, step: int) -> list:
    volume = _number(row[5]) if len(row) > 5 else "0"
    time_ms = int(row[0])
    return [time_ms, *map(_number, row[1:5]), volume, time_ms + step - 1, "0", 0, "0", "0", "0"]


def _binance_symbol(base: str) -> dict:
    return {
        "symbol": f"{base}USDT", "pair": f"{base}USDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000, "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT",
        "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8,
        "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"], "timeInForce": ["GTC", "GTX"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "4529764", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "50"},
        ],
    }  # fmt: skip


def _zip(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr(name, text)
    return buffer.getvalue()
