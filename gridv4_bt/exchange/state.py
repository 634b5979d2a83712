"""The state of an exchange as plain data, beside its orders, trades and income, which are kept row by row."""

from collections.abc import Iterable, Mapping
from typing import Any

from gridv4_bt.engine.types import Fill, PositionSide
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.records import AlgoOrder, Income, Order, Position, Trade

_TOTALS = (
    "start", "wallet", "gross", "fees", "funding", "fills", "maker_executions", "taker_executions", "liquidations",
)  # fmt: skip


def snapshot(exchange: Exchange) -> dict[str, Any]:
    """Return all that is neither a record nor can be read from the candles."""
    tape = exchange.tape
    return {
        "now": exchange.now,
        "barTime": tape.time,
        "moment": tape.moment,
        "over": tape.over,
        "hedge": exchange.hedge_mode,
        "isolated": sorted(exchange.isolated),
        "countdowns": exchange.countdowns,
        "ids": exchange.registry.ids,
        "account": {name: getattr(exchange.account, name) for name in _TOTALS},
        "symbols": {symbol: _symbol_state(exchange, symbol) for symbol in exchange.books},
    }


def _symbol_state(exchange: Exchange, symbol: str) -> dict[str, Any]:
    book = exchange.books[symbol]
    state: dict[str, Any] = {"leverage": book.leverage}
    for leg in book.legs:
        position = exchange.ledger.position(symbol, leg.side)
        state[leg.side.name] = {
            "fills": [list(fill) for fill in leg.tracker.fills],
            "position": [position.qty, position.entry, position.updated],
        }
    return state


def restore(exchange: Exchange, state: Mapping[str, Any], rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Bring a new exchange to a state that was kept; `rows` are its orders, algos, trades and incomes.

    Raises
    ------
    ConfigError
        The state belongs to other candles.
    """
    exchange.tape.seek(state["barTime"], state["moment"])
    if state["over"] and not exchange.tape.over:
        exchange.tape.forward()
    if set(state["symbols"]) != set(exchange.books) or exchange.tape.time != state["barTime"]:
        raise ConfigError("the database belongs to other candles: give the same files, or another --database")
    exchange.now = state["now"]
    exchange.hedge_mode = state["hedge"]
    exchange.isolated = set(state["isolated"])
    exchange.countdowns = dict(state["countdowns"])
    positions = {}
    for symbol, kept in state["symbols"].items():
        book = exchange.books[symbol]
        book.leverage = kept["leverage"]
        for leg in book.legs:
            for fill in kept[leg.side.name]["fills"]:
                leg.tracker.add(Fill(*fill))
            positions[symbol, leg.side] = Position(*kept[leg.side.name]["position"])
    for name, value in state["account"].items():
        setattr(exchange.account, name, value)
    exchange.ledger.restore(
        [Trade(**row) for row in rows["trades"]], [Income(**row) for row in rows["incomes"]], positions
    )
    exchange.registry.restore(
        [Order(**row) for row in rows["orders"]], [AlgoOrder(**row) for row in rows["algos"]], state["ids"],
        lambda symbol, side: exchange.books[symbol].leg(PositionSide(side)),
    )  # fmt: skip
