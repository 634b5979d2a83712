"""How far a bot's account is from liquidation: by symbol as the exchange says it, and if all symbols move together.

All symbols share the wallet. The exchange's liquidation price of a symbol leaves the others at their price.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gridv4_bt.core.risk import Bracket, liquidation_prices
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.engine.guards import margin_ratio
from gridv4_bt.engine.liquidation import excess_at
from gridv4_bt.engine.position import sum_fills, unrealized_pnl
from gridv4_bt.engine.types import Fill
from gridv4_bt.live.monitor import Limits

_STEPS = 60  # halvings of the common move
_FARTHEST = 10.0  # common rise looked at, fraction of the price


class _Held(NamedTuple):
    """What is held in one symbol."""

    symbol: str
    close: float
    long_qty: float
    long_cost: float
    short_qty: float
    short_cost: float
    brackets: Sequence[Bracket]

    def unrealized(self) -> float:
        """Return the unrealised PnL, quote."""
        long = unrealized_pnl(1, self.long_qty, self.long_cost, self.close)
        return long + unrealized_pnl(-1, self.short_qty, self.short_cost, self.close)

    def excess(self, move: float = 0.0) -> float:
        """Return unrealised PnL less maintenance margin after a move of the price, quote."""
        price = self.close * (1.0 + move)
        return excess_at(price, self.long_qty, self.long_cost, self.short_qty, self.short_cost, self.brackets)


def account_risk(bot: BotFiles) -> dict[str, Any]:
    """Return liquidation prices and distances of the account at the latest closes; empty before the first decision.

    `symbols` has the prices `down` and `up` of each symbol held and their distances, fractions of the price, None where
    no price liquidates; `together` the distances if all symbols move alike; `distance` the nearest of all; `warning`
    says what is too near, "" if nothing is. A symbol without known brackets or close is left out and named there.
    """
    broker = bot.state().get("broker") or {}
    if "account" not in broker:
        return {}
    wallet = broker["account"]["wallet"]
    held, unknown = _held(bot, broker["books"])
    excesses = [one.excess() for one in held]
    symbols: list[dict[str, Any]] = []
    for place, one in enumerate(held):
        others = plain_sum(excess for number, excess in enumerate(excesses) if number != place)
        down, up = liquidation_prices(
            wallet + others,
            one.long_qty, one.long_cost / one.long_qty if one.long_qty else 0.0,
            one.short_qty, one.short_cost / one.short_qty if one.short_qty else 0.0,
            one.brackets,
        )  # fmt: skip
        symbols.append(
            {
                "symbol": one.symbol, "close": one.close, "down": down, "up": up,
                "down_distance": None if down is None else 1.0 - down / one.close,
                "up_distance": None if up is None else up / one.close - 1.0,
            }
        )  # fmt: skip
    together = {"down": _common_move(wallet, held, -1.0), "up": _common_move(wallet, held, _FARTHEST)}
    alone = [one[name] for one in symbols for name in ("down_distance", "up_distance")]
    nearest = min((one for one in (*alone, *together.values()) if one is not None), default=None)
    equity = wallet + plain_sum(one.unrealized() for one in held)
    maintenance = plain_sum(one.unrealized() - excess for one, excess in zip(held, excesses, strict=True))
    ratio = margin_ratio(maintenance, equity)
    return {
        "wallet": wallet, "equity": equity, "maintenance": maintenance, "margin_ratio": ratio, "symbols": symbols,
        "together": together, "distance": nearest, "warning": _warning(bot, nearest, ratio, unknown),
    }  # fmt: skip


def _held(bot: BotFiles, books: dict[str, Any]) -> tuple[list[_Held], list[str]]:
    """Return what is held by symbol, and the symbols of which brackets or close are not known."""
    held, unknown = [], []
    for symbol, book in books.items():
        sums = []
        for leg in book["legs"]:
            fills = [Fill(*one) for one in leg["fills"]]
            sums.append(sum_fills([one.qty for one in fills], [one.price for one in fills], len(fills)))
        if not any(qty for qty, _ in sums):
            continue
        market, close = bot.market(symbol), bot.close(symbol, book["bar"])
        if market is None or close is None:
            unknown.append(symbol)
        else:
            held.append(_Held(symbol, close, *sums[0], *sums[1], market.brackets))
    return held, unknown


def _common_move(wallet: float, held: Sequence[_Held], farthest: float) -> float | None:
    """Return by which share all prices may fall (`farthest` below 0) or rise until the account is liquidated."""

    def is_safe(move: float) -> bool:
        return wallet + plain_sum(one.excess(move) for one in held) > 0.0

    if not held or is_safe(farthest):
        return None
    safe, gone = 0.0, farthest
    for _ in range(_STEPS):
        middle = 0.5 * (safe + gone)
        safe, gone = (middle, gone) if is_safe(middle) else (safe, middle)
    return math.fabs(gone)


def _warning(bot: BotFiles, distance: float | None, ratio: float, unknown: Sequence[str]) -> str:
    limits = Limits()
    says = [f"the liquidation of {symbol} cannot be worked out: its brackets are not known" for symbol in unknown]
    if distance is not None and distance < max(limits.liquidation, bot.config().liquidation_warning):
        says.append(f"the nearest liquidation price is {distance:.1%} away")
    if ratio > limits.margin_ratio:
        says.append(f"maintenance margin is {ratio:.0%} of the equity; at 100 % the account is liquidated")
    return "; ".join(says)
