"""The ccxt client of a live session."""

import ccxt
import requests

from gridv4_bt.live.connection import RECV_WINDOW_MS
from gridv4_bt.live.keys import Keys

#: Of any client that trades.
OPTIONS = {
    "defaultType": "swap", "defaultSubType": "linear", "fetchMarkets": {"types": ["linear"]},
    # Without these ccxt requests spot currencies at start, for which a futures-only key has no permission.
    "fetchCurrencies": False, "fetchMargins": False,
    "recvWindow": RECV_WINDOW_MS, "adjustForTimeDifference": True,
    "fetchOpenOrders": {"warnWithoutSymbol": False},
    # Else ccxt would send a market order whose answer was lost again, and it would be executed twice.
    "maxRetriesOnFailure": 0,
}  # fmt: skip


def make_client(keys: Keys, session: requests.Session | None = None, demo: bool = False) -> ccxt.Exchange:
    """Return a ccxt client of Binance USDⓈ-M.

    Parameters
    ----------
    session : sends the requests, such as one that leads to a local exchange; None: the network.
    demo : trade in the exchange's demo environment.
    """
    settings = {
        "apiKey": keys.key,
        "secret": keys.secret,
        "timeout": 10_000,
        "enableRateLimit": session is None,
        "options": dict(OPTIONS),
    }
    if session is not None:
        settings["session"] = session
    client = ccxt.binanceusdm(settings)
    if demo:
        client.enable_demo_trading(True)
    return client
