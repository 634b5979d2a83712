"""The bot's orders by their names and numbers."""

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.own_orders import Order, OrderRegistry


def order(purpose, number, became=None):
    key = OrderKey("TESTUSDT", PositionSide.LONG, purpose, 1)
    return Order(make_id("g4", key, 1), key, 1.0, 100.0, exchange_id=number, triggered_id=became)


def test_a_trade_names_the_order_that_executed_and_a_stop_by_what_it_became():
    registry = OrderRegistry()
    waiting, triggered, take_profit = (
        order(Purpose.STOP, "7"),
        order(Purpose.STOP, "8", became="31"),
        order(Purpose.EXIT, "7"),
    )
    triggered.id += "2"
    for one in (waiting, triggered, take_profit):
        registry.add(one)
    assert registry.by_exchange_id("7") is take_profit  # not the stop whose own number, of another series, is the same
    assert registry.by_exchange_id("31") is triggered
    assert registry.by_exchange_id("8") is None


def test_state_and_journal_keep_the_names_they_have_always_had():
    stop = order(Purpose.STOP, "8", became="31")
    stored = stop.to_json()
    assert (stored["standing"], stored["number"], stored["became"]) == ("doubt", "8", "31")
    assert list(stored) == [
        "id", "key", "qty", "price", "spacing_pct", "label", "standing", "number", "became", "sent", "filled",
        "executed",
    ]  # fmt: skip
    assert Order.from_json(stored) == stop
