"""The pre-flight check, `run_live.py --check`: read-only checks of account, key and markets."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from gridv4_bt.config import GridConfig
from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Connection, Refused, Unreachable
from gridv4_bt.live.dead_man import DEFAULT_S, RENEWALS
from gridv4_bt.live.executor import Executor
from gridv4_bt.live.ids import parse_id
from gridv4_bt.live.protection import WATCH_S

_LARGEST_CLOCK_ERROR_MS = 500
#: Request weight of a candle without order changes: klines, both lists of open orders, trades, positions, balance.
_WEIGHT_PER_CANDLE = 1 + 1 + 1 + 5 + 5 + 5
#: Every 20 s all positions and the symbol's stops are looked at, each minute its open orders.
_WEIGHT_WATCH = round(15 * 60 / WATCH_S) * (5 + 1) + 15
#: The dead man's switch is renewed three times in its 600 s, with weight 10.
_WEIGHT_DEAD_MAN = 10 * -(-15 * 60 * RENEWALS // DEFAULT_S)


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    passed: bool
    text: str  #: what was found, and what to do if it did not pass
    warns: bool = False  #: it has passed, and a person should read the text


def run_preflight(executor: Executor, config: GridConfig, bot: str) -> list[Finding]:
    """Return the findings about clock, key, modes, order sizes, foreign orders and rate limits."""
    checks = (_clock, _key, _hedge_mode, _leverage, _sizes, _orders, _budget)
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check(executor, config, bot))
        except (Refused, Unreachable, LiveError) as failure:
            findings.append(Finding(check.__name__.strip("_").replace("_", " "), False, str(failure)))
    return findings


def _clock(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    connection: Connection = executor.connection
    began = time.monotonic()
    theirs = connection.call(connection.client.fetch_time)
    lag = (time.monotonic() - began) * 1000.0
    ahead = connection.clock.now() - theirs
    passed = abs(ahead) <= _LARGEST_CLOCK_ERROR_MS + lag
    cure = "" if passed else "; synchronise this machine's clock (NTP)"
    yield Finding("clock", passed, f"{ahead:+.0f} ms against the exchange, an answer takes {lag:.0f} ms{cure}")


def _key(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    client = executor.connection.client
    account = executor.connection.call(client.fapiPrivateGetAccountConfig)
    trades = str(account.get("canTrade", "")).lower() == "true"
    withdraws = str(account.get("canWithdraw", "")).lower() == "true"
    yield Finding("key may trade", trades, "yes" if trades else "no: give it the permission to trade futures")
    text = "no" if not withdraws else "this account may withdraw: take that right away from the key, at the exchange"
    yield Finding("withdrawals", True, text, warns=withdraws)
    wallet = executor.wallet() or executor.balance() or 0.0
    yield Finding("wallet", wallet > 0.0, f"{wallet:,.2f} USDT" if wallet > 0.0 else "empty: transfer USDT to futures")


def _hedge_mode(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    if executor.is_hedged():
        yield Finding("hedge mode", True, "on")
    elif any(_is_used(executor, symbol) for symbol in executor.markets):
        yield Finding("hedge mode", False, "off; close all positions and orders, then the bot switches it on")
    else:
        yield Finding("hedge mode", True, "off; the bot switches it on at its start")


def _leverage(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    for symbol in executor.markets:
        found = executor.symbol_config(symbol)
        passed = int(found["leverage"]) == config.leverage and found["marginType"].upper().startswith("CROSS")
        cure = ""
        if not passed and not executor._is_flat(symbol):
            cure = f"; something is held: close it, then the bot sets CROSSED {config.leverage:g}"
        elif not passed:
            passed, cure = True, f"; the bot sets CROSSED {config.leverage:g} at its start"
        yield Finding(f"{symbol} leverage", passed, f"{found['marginType']} {found['leverage']}{cure}")


def _is_used(executor: Executor, symbol: str) -> bool:
    """Return whether something is held or ordered in a symbol."""
    return bool(executor.open_orders(symbol)) or not executor._is_flat(symbol)


def _sizes(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    """Compare the smallest and the usual order of a level with the market's minimum."""
    wallet = executor.wallet() or executor.balance() or 0.0
    for symbol, market in executor.markets.items():
        price = executor.price(executor.unified_symbol(symbol))
        own = config.of(symbol)
        usual = wallet * own.order_pct * kelly_multiplier((), min_trades=own.kelly_min_trades)
        smallest = usual * own.kelly_floor * 0.5 * 0.75  # after a cooldown, on the side that pays funding
        least = max(market.min_notional, market.min_qty * price)
        text = f"a level is {usual:,.2f}, at worst {smallest:,.2f} USDT; the market's minimum is {least:,.2f}"
        cure = "" if usual >= least else "; more in the wallet or a larger order_pct is needed"
        yield Finding(f"{symbol} order size", usual >= least, text + cure)


def _orders(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    for symbol in executor.markets:
        others = [one for one in executor.open_orders(symbol) if (name := parse_id(one)) is None or name.bot != bot]
        held = {side.name: leg.qty for side, leg in executor.positions(symbol).items() if leg.qty}
        cure = "" if not others else "; they are left alone, but bind margin: cancel them if they are forgotten"
        yield Finding(f"{symbol} foreign orders", not others, f"{len(others)}{cure}")
        text = ", ".join(f"{side} {qty:g}" for side, qty in held.items()) or "none"
        yield Finding(f"{symbol} positions", True, text)


def _budget(executor: Executor, config: GridConfig, bot: str) -> Iterator[Finding]:
    weight = (_WEIGHT_PER_CANDLE + _WEIGHT_WATCH + _WEIGHT_DEAD_MAN) * len(executor.markets)
    changes = sum(2 * config.of(symbol).levels for symbol in executor.markets)
    text = f"about {weight} of 36,000 weight a candle, and up to {changes} cancels and {changes} orders when all moves"
    yield Finding("rate budget", weight + changes < 18_000 and changes < 300, text)
