"""The law that every execution is booked once, on its own fill: a bot's trades.csv against the exchange's ledger."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.live.ids import Purpose, parse_id

_TOLERANCE = 1e-9
_ALSO_AT_MARKET = (TradeLabel.STOP2, TradeLabel.MANUAL)


def booking_errors(
    exchange: Exchange, until: int, rows: Iterable[Mapping[str, Any]], held: Mapping[str, Sequence[tuple[int, float]]]
) -> list[str]:
    """Return what a bot has booked otherwise than it was executed.

    Parameters
    ----------
    until : time of the books, ms: executions before it are booked.
    rows : the closings in them: trade_id, side, label and qty, as in trades.csv.
    held : id and quantity of the open fills by side, LONG and SHORT.

    Of a fill of which the exchange has closed more than it had, only what it had can be booked on it; it is left out.
    """
    booked: defaultdict[tuple[str, Any], float] = defaultdict(float)
    size: defaultdict[Any, float] = defaultdict(float)
    done = _executed(exchange, until)
    # Some labels may be of closes at market of single fills too: a person's command, a stop that the price had passed.
    for row in sorted(rows, key=lambda row: row["label"] in _ALSO_AT_MARKET):
        side, qty = row["side"], float(row["qty"])
        size[int(row["trade_id"])] += qty
        booked["opened", side] += qty
        label = TradeLabel(row["label"])
        if label in _ALSO_AT_MARKET:
            own = "cut", int(row["trade_id"])
            ours = min(qty, max(done[own] - booked[own], 0.0))
            booked[own] += ours
            booked["stopped" if label is TradeLabel.STOP2 else "closed by others", side] += qty - ours
        elif label is TradeLabel.LIQUIDATION:
            booked["closed by others", side] += qty
        else:
            booked["exited" if label is TradeLabel.GRID else "cut", int(row["trade_id"])] += qty
    for side, fills in held.items():
        for fill_id, qty in fills:
            size[fill_id] += qty
            booked["opened", side] += qty
    errors = []
    for key in sorted(booked.keys() | done.keys(), key=str):
        what, whose = key
        if what in ("exited", "cut"):
            if done["exited", whose] + done["cut", whose] > size[whose] * (1.0 + _TOLERANCE):
                continue
            whose = f"fill {whose}"
        if abs(booked[key] - done[key]) > _TOLERANCE * (1.0 + done[key]):
            errors.append(f"{whose}: {done[key]:g} {what} at the exchange, {booked[key]:g} in the books")
    return errors


def _executed(exchange: Exchange, until: int) -> defaultdict[tuple[str, Any], float]:
    """Return the quantities executed, by what they did and for which fill or side."""
    found: defaultdict[tuple[str, Any], float] = defaultdict(float)
    for trade in exchange.ledger.trades:
        if trade.time >= until:
            break
        side = trade.position_side
        opens = (trade.side == "BUY") == (side == "LONG")
        name = parse_id(exchange.order_records.orders[trade.order_id].client_id)
        if opens:
            found["opened", side] += trade.qty
        elif name is None:
            found["closed by others", side] += trade.qty
        elif name.purpose is Purpose.STOP:
            found["stopped", side] += trade.qty
        else:
            found["exited" if name.purpose is Purpose.EXIT else "cut", name.ref] += trade.qty
    return found
