"""What a server that speaks Binance's REST can do of what a session needs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from feeds.exchange import http_status
from gridv4_bt.live.connection import Connection, Refused

_NO_SUCH_PATH = -5000


class Ability(NamedTuple):
    """A path that a session asks for, by a request that changes nothing."""

    path: str
    method: str  #: ccxt's name of it
    params: dict[str, Any]
    without: str  #: what a session does without it; empty if it cannot do without


def _abilities(symbol: str) -> list[Ability]:
    of_symbol = {"symbol": symbol}
    return [
        Ability("GET /fapi/v1/exchangeInfo", "fapiPublicGetExchangeInfo", {}, ""),
        Ability("GET /fapi/v1/klines", "fapiPublicGetKlines", of_symbol | {"interval": "15m", "limit": 1}, ""),
        Ability("GET /fapi/v1/fundingRate", "fapiPublicGetFundingRate", of_symbol | {"limit": 1}, ""),
        Ability("GET /fapi/v1/ticker/24hr", "fapiPublicGetTicker24hr", of_symbol, ""),
        Ability("GET /fapi/v1/leverageBracket", "fapiPrivateGetLeverageBracket", of_symbol, ""),
        Ability("GET /fapi/v1/symbolConfig", "fapiPrivateGetSymbolConfig", of_symbol, ""),
        Ability("GET /fapi/v1/positionSide/dual", "fapiPrivateGetPositionSideDual", {}, ""),
        Ability("GET /fapi/v3/account", "fapiPrivateV3GetAccount", {}, ""),
        Ability("GET /fapi/v3/balance", "fapiPrivateV3GetBalance", {}, ""),
        Ability("GET /fapi/v3/positionRisk", "fapiPrivateV3GetPositionRisk", {}, ""),
        Ability("GET /fapi/v1/openOrders", "fapiPrivateGetOpenOrders", of_symbol, ""),
        Ability("GET /fapi/v1/openAlgoOrders", "fapiPrivateGetOpenAlgoOrders", of_symbol, ""),
        Ability("GET /fapi/v1/allOrders", "fapiPrivateGetAllOrders", of_symbol | {"limit": 1}, ""),
        Ability("GET /fapi/v1/userTrades", "fapiPrivateGetUserTrades", of_symbol | {"limit": 1}, ""),
        Ability("GET /fapi/v1/income", "fapiPrivateGetIncome", {"limit": 1}, ""),
        Ability(
            "POST /fapi/v1/countdownCancelAll",
            "fapiPrivatePostCountdownCancelAll",
            of_symbol | {"countdownTime": 0},
            "no dead man's switch: after kill -9 entries stay open",
        ),
    ]


def lacking(connection: Connection, symbol: str, name: Callable[[Ability], None]) -> list[str]:
    """Return the paths without which no session can run; `name` is called with each other one that is missing.

    Raises
    ------
    LiveError
        The server refuses the key.
    """
    missing = []
    for ability in _abilities(symbol):
        try:
            connection.call_once(partial(getattr(connection.client, ability.method), dict(ability.params)))
        except Refused as refused:
            if refused.failure.code != _NO_SUCH_PATH and http_status(refused.__cause__) not in (404, 405, 501):
                continue  # it answers, if not what was asked for
            if ability.without:
                name(ability)
            else:
                missing.append(ability.path)
    return missing
