"""The real ccxtbt package as the store of a session: its client, and the project's own feed and broker."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import ccxt

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.ccxt_store import CCXTStore
from gridv4_bt.live.gateway import Gateway

ADDRESS = "git+https://github.com/Dave-Vallance/bt-ccxt-store@390bd304bf71391d58d23b53fe15dc6d02318307"


def require_ccxtbt() -> None:
    """Check that the package is installed.

    Raises
    ------
    ConfigError
        It is not.
    """
    if find_spec("ccxtbt") is None:
        raise ConfigError(
            "--store ccxtbt needs the package ccxtbt, which is on no package index: "
            f"pip install 'bt_ccxt_store @ {ADDRESS}'"
        )


def ccxtbt_store(gateway: Gateway, demo: bool = False) -> tuple[Gateway, Any]:
    """Return a gateway over the client of the package's store, and that store.

    The store makes its client from the gateway's connection and settings. Keys and demo mode are set after that,
    because it requests the balance at once if it has a key. Its retry, which can double an order, is never used: feed
    and broker are the project's, registered as its `DataCls` and `BrokerCls`, and send their requests by themselves.

    Raises
    ------
    ConfigError
        The package is not installed, or makes no client.
    """
    require_ccxtbt()
    from ccxtbt import CCXTStore as Store

    own = gateway.client
    config = {name: getattr(own, name) for name in ("timeout", "enableRateLimit", "options", "session")}
    Store._singleton = None  # another gateway is another account
    try:
        store = Store(exchange="binanceusdm", currency="USDT", config=config, retries=1)
    except ccxt.BaseError as error:
        raise ConfigError(f"--store ccxtbt: the package makes no client ({type(error).__name__}); use own") from None
    client = store.exchange
    client.apiKey, client.secret = own.apiKey, own.secret
    if "milliseconds" in vars(own):  # a market that does not run by this machine's clock
        client.milliseconds = own.milliseconds
    if demo:
        client.enable_demo_trading(True)
    gateway = replace(gateway, client=client)
    ours = CCXTStore.at(gateway)
    Store.DataCls, Store.BrokerCls = ours.getdata, ours.getbroker
    return gateway, store
