"""Every row of the table of errors: what the exchange says, what is done."""

import ccxt
import pytest
import requests

from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import classify

R = Reaction
B = "binanceusdm "


def said(code: int, text: str = "text") -> str:
    return f'{B}{{"code":{code},"msg":"{text}"}}'


def http(cls, status: int, text: str, headers=None) -> Exception:
    """Return an error of ccxt as it comes of an answer with a status."""
    response = requests.Response()
    response.status_code = status
    error = cls(text)
    error.__cause__ = requests.HTTPError(response=response)
    return error


TABLE = [
    (ccxt.OperationFailed, said(-1000, "Unknown error, please check your request or try again later."), R.UNKNOWN),
    (ccxt.OperationFailed, said(-1001, "Service Unavailable."), R.RETRY),
    (ccxt.OperationFailed, said(-1001, "Internal error; unable to process your request. Please try again."), R.UNKNOWN),
    (ccxt.OperationFailed, said(-1006), R.UNKNOWN),
    (ccxt.RequestTimeout, said(-1007), R.UNKNOWN),
    (ccxt.OperationFailed, said(-1008), R.RETRY),
    (ccxt.RequestTimeout, "binanceusdm POST https://fapi.binance.com/fapi/v1/order", R.UNKNOWN),
    (ccxt.NetworkError, "Connection aborted.", R.UNKNOWN),
    (ccxt.ExchangeNotAvailable, "connection dropped", R.UNKNOWN),
    (ccxt.ExchangeError, "body cut half-way", R.UNKNOWN),
    (ccxt.BadResponse, "html", R.UNKNOWN),
    (ccxt.RateLimitExceeded, said(-1003), R.WAIT),
    (ccxt.DDoSProtection, said(-1015), R.WAIT_ORDERS),
    (ccxt.InvalidNonce, said(-1021), R.RESYNC_CLOCK),
    (ccxt.BadRequest, said(-5028), R.RESYNC_CLOCK),
    *((ccxt.AuthenticationError, said(code), R.LOCKED_OUT) for code in (-1022, -2014, -2015)),
    (ccxt.AuthenticationError, "binanceusdm requires apiKey", R.LOCKED_OUT),
    (ccxt.InvalidOrder, said(-2010), R.SKIP),
    (ccxt.OrderNotFound, said(-2011), R.GONE),
    (ccxt.OrderNotFound, said(-2013), R.GONE),
    *((ccxt.InsufficientFunds, said(code), R.STOP_ADDING) for code in (-2018, -2019, -2024)),
    (ccxt.OperationFailed, said(-2020), R.SKIP),
    (ccxt.OperationFailed, said(-2023), R.HALT),
    *((ccxt.OrderImmediatelyFillable, said(code), R.CLOSE_NOW) for code in (-2021, -4142)),
    (ccxt.InvalidOrder, said(-2022), R.RESYNC),
    (ccxt.OperationRejected, said(-4118), R.RESYNC),
    *((ccxt.OperationRejected, said(code), R.FEWER_ORDERS) for code in (-2025, -4045)),
    *((ccxt.OperationRejected, said(code), R.STOP_ADDING) for code in (-2027, -2028)),
    (ccxt.OperationRejected, said(-4059), R.SUCCESS),
    (ccxt.MarginModeAlreadySet, said(-4046), R.SUCCESS),
    *((ccxt.OperationRejected, said(code), R.HALT) for code in (-4067, -4068, -4047, -4048, -4531, -4061)),
    *((ccxt.BadRequest, said(code), R.BUG) for code in (-1106, -1102, -1116, -1128, -1130, -4060)),
    *((ccxt.BadRequest, said(code), R.REQUANTISE) for code in (-1111, -4014, -4023, -4003, -4004, -4005, -4013)),
    *((ccxt.BadRequest, said(code), R.SKIP) for code in (-4016, -4024)),
    (ccxt.OperationRejected, said(-4131), R.SMALLER),
    (ccxt.InvalidOrder, said(-4164), R.SKIP),
    (ccxt.InvalidOrder, said(-4116), R.ADOPT),
    *((ccxt.OrderNotFillable, said(code), R.REPRICE) for code in (-5021, -5022)),
    (ccxt.OperationRejected, said(-5027), R.SUCCESS),
    # PermissionDenied is an AuthenticationError to Python: only closing is allowed, which is no reason to halt.
    *((ccxt.PermissionDenied, said(code), R.STOP_ADDING) for code in (-4087, -4088, -4192, -4400)),
    (ccxt.InvalidOrder, said(-4120), R.BUG),
    (ccxt.ExchangeError, said(-9999), R.SKIP),
    (ccxt.ArgumentsRequired, "binanceusdm createOrder() requires a price", R.BUG),
]


@pytest.mark.parametrize(("cls", "text", "reaction"), TABLE, ids=[f"{row[0].__name__}{row[1][-30:]}" for row in TABLE])
def test_the_table(cls, text, reaction):
    assert classify(cls(text)).reaction is reaction


def test_the_code_decides_whatever_class_the_address_made_of_it():
    assert classify(ccxt.ExchangeError(said(-2019))).reaction is R.STOP_ADDING
    assert classify(ccxt.InvalidOrder(said(-5022))).reaction is R.REPRICE


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_may_have_lost_the_answer_of_an_executed_order(status):
    assert classify(http(ccxt.ExchangeNotAvailable, status, "<html>Bad Gateway</html>")).reaction is R.UNKNOWN


@pytest.mark.parametrize("status", [418, 429])
def test_too_many_requests_wait_as_long_as_the_exchange_says(status):
    failure = classify(http(ccxt.DDoSProtection, status, said(-1003)), {"Retry-After": "17"})
    assert (failure.reaction, failure.wait) == (R.WAIT, 17.0)


def test_a_ban_lasts_until_its_time():
    text = said(-1003, "Way too many requests; IP banned until 1700000120000.")
    assert classify(http(ccxt.DDoSProtection, 418, text), {}, 1700000000000).wait == 120.0


def test_too_many_orders_stop_orders_only():
    failure = classify(http(ccxt.DDoSProtection, 429, said(-1015)), {"Retry-After": "5"})
    assert (failure.reaction, failure.wait) == (R.WAIT_ORDERS, 5.0)


def test_a_firewall_wants_minutes():
    failure = classify(http(ccxt.ExchangeNotAvailable, 403, "<html>Forbidden</html>"))
    assert failure.reaction is R.WAIT and failure.wait >= 60.0


def test_the_text_for_the_log_has_no_address():
    text = classify(ccxt.RequestTimeout("binanceusdm POST https://fapi.binance.com/fapi/v1/order?signature=abc")).text
    assert "signature" not in text and "https" not in text
