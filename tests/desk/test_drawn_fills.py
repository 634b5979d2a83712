"""What a chart of a symbol shows: every fill of its window once, on its leg, with what it was for."""

from collections import Counter

from live_market import events, rows

from gridv4_bt.core.time import BAR_MS, iso
from gridv4_bt.desk import drawn_fills, held, ladder_view


def test_every_fill_of_the_window_is_there_once_and_oldest_first(bot, traded):
    symbol = bot.symbols()[0]
    executed = events(traded, "fill")
    found = drawn_fills.chart(bot, symbol, 1_000)["fills"]
    assert len(executed) > 10
    assert [(one["trade"], one["side"], one["price"]) for one in found] == [
        (one["trade"], one["side"], one["price"]) for one in executed
    ]
    few = drawn_fills.chart(bot, symbol, 6)
    begin = few["candles"][0][0]
    assert [one["trade"] for one in few["fills"]] == [one["trade"] for one in executed if iso(one["time"]) >= begin]


def test_a_closing_has_the_label_of_its_trade(bot, traded):
    """As many executions of each label as trades.csv has closings of it in the same bars."""
    symbol = bot.symbols()[0]
    trades = rows(traded.folder / "trades.csv")
    found = drawn_fills.chart(bot, symbol, 1_000)["fills"]
    closing = [one for one in found if not one["reason"].startswith("entry")]
    labels = {(trade["close_time"], trade["side"], trade["label"]) for trade in trades}
    assert {(iso(one["time"] // BAR_MS * BAR_MS), one["side"], one["reason"]) for one in closing} == labels
    assert len(Counter(one["reason"] for one in closing)) > 1


def test_an_entry_says_its_level(bot):
    found = drawn_fills.chart(bot, bot.symbols()[0], 1_000)["fills"]
    entries = [one for one in found if one["reason"].startswith("entry")]
    opened = {("LONG", True), ("SHORT", False)}
    assert entries and all((one["side"], one["buy"]) in opened for one in entries)
    assert all(0 < int(one["reason"].removeprefix("entry, level ")) <= bot.config().levels for one in entries)


def test_the_open_orders_and_the_prices_of_the_legs_are_there(bot):
    symbol = bot.symbols()[0]
    found = drawn_fills.chart(bot, symbol, 100)
    assert found["orders"] == ladder_view.open_orders(bot)
    names = ("average", "break_even", "stop", "liquidation")
    for leg, row in zip(found["legs"], held.leg_rows(bot), strict=False):
        assert [leg[name] for name in names] == [row[name] for name in names]
