"""The keywords of ``buy`` and ``sell`` beyond Backtrader's own: those of the exchange, as ccxt's programs send them.

``params={...}`` holds the same keywords. None is ignored: what is not read here is refused.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gridv4_bt.engine.orders import Refusal
from gridv4_bt.engine.types import PositionSide

#: How the same is asked for, by keywords of ccxt and the exchange that orders here do not have.
INSTEAD = {
    "activationPrice": "a trailing stop trails from its order on, or from price=",
    "callbackRate": "give exectype=bt.Order.StopTrail and trailpercent=, 0.02 for 2 %",
    "closePosition": "close(positionSide=...) closes a whole leg",
    "coc": "a market order fills at the next open",
    "leverage": "give the broker leverage",
    "marginMode": "the account is cross margin",
    "price": "give price= to buy() or sell()",
    "stopLoss": "place a Stop order, or buy_bracket() with stopprice=",
    "stopLossPrice": "give exectype=bt.Order.Stop and price=",
    "stopPrice": "give exectype=bt.Order.Stop and price=, or StopLimit with plimit=",
    "takeProfit": "place a Limit order, or buy_bracket() with limitprice=",
    "takeProfitPrice": "give exectype=bt.Order.Limit and price=",
    "trailingPercent": "give exectype=bt.Order.StopTrail and trailpercent=, 0.02 for 2 %",
    "triggerPrice": "give exectype=bt.Order.Stop and price=, or StopLimit with plimit=",
    "type": "give exectype=",
}
FLAGS = ("reduceOnly", "hedged", "postOnly")
READ = ("positionSide", *FLAGS, "timeInForce", "clientOrderId", "newClientOrderId")
POST_ONLY = ("GTX", "PO")  #: the exchange's word for it, and ccxt's


class Terms(NamedTuple):
    """What the keywords of an order ask for."""

    side: PositionSide | None = None  #: positionSide; None: it reduces the opposite leg, then opens its own
    reduce_only: bool = False  #: of an order without positionSide: never opens
    post_only: bool = False  #: refused rather than executed as taker


def read_terms(is_buy: bool, keywords: Mapping[str, Any]) -> Terms | Refusal:
    """Return what the keywords of an order ask for, or why it is refused."""
    words = _merged(keywords)
    if isinstance(words, Refusal):
        return words
    for name in words:
        if name not in READ:
            hint = INSTEAD.get(name, f"known are {', '.join(READ)}; words of your own go to order.addinfo()")
            return Refusal(-1104, "Not all sent parameters were read", f": {name}; {hint}")
    for name in FLAGS:
        if words.get(name) not in (None, True, False, "true", "false"):
            return _invalid(name, words[name], "True or False")
    reduce_only, hedged, post_only = (words.get(name) in (True, "true") for name in FLAGS)
    force, side = words.get("timeInForce"), words.get("positionSide")
    if force not in (None, "GTC", *POST_ONLY):
        return Refusal(-1115, "Invalid timeInForce.", f" {force} is not supported: GTC, or GTX for post-only")
    if hedged and side is None:  # ccxt's word for "in hedge mode": what the order does names the leg
        side, reduce_only = ("LONG" if is_buy != reduce_only else "SHORT"), False
    try:
        side = PositionSide[side] if isinstance(side, str) else side and PositionSide(side)
    except (KeyError, ValueError):
        return Refusal(-4060, "Invalid position side", f" {side!r}: LONG or SHORT")
    if side is not None and reduce_only:
        detail = " With positionSide an order that closes never opens"
        return Refusal(-1106, "Parameter 'reduceOnly' sent when not required.", detail)
    return Terms(side, reduce_only, post_only or force in POST_ONLY)


def _merged(keywords: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """Return the keywords with those of ``params`` among them."""
    words = dict(keywords)
    params = words.pop("params", None) or {}
    if not isinstance(params, Mapping):
        return _invalid("params", params, "a dict")
    for name, value in params.items():
        if words.setdefault(name, value) != value:
            return _invalid(name, value, f"{words[name]!r}, as the keyword has it")
    return words


def _invalid(name: str, value: Any, expected: str) -> Refusal:
    return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.", f" {value!r}: expected {expected}")
