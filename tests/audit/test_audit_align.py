"""Which fills of two lists are the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.audit.align import align
from gridv4_bt.audit.compared_fills import ComparedFill
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import Purpose

BAR = 900_000
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def near(symbol):
    return 0.005


def fill(bar=0, price=100.0, qty=1.0, **more):
    given = {
        "symbol": "TESTUSDT",
        "side": LONG,
        "purpose": Purpose.ENTRY,
        "ref": 0,
        "fee": 0.02 * qty,
        "maker": True,
        "is_buy": True,
    }
    return ComparedFill(bar=bar * BAR, price=price, qty=qty, booked=bar * BAR, **given | more)


def names(live, backtest):
    return [pair.differences for pair in align(live, backtest, near)]


def test_what_is_the_same_has_no_difference():
    assert names([fill(), fill(price=99.0)], [fill(price=99.0), fill()]) == [(), ()]


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({"qty": 0.5, "fee": 0.01}, ("qty", "fee")),
        ({"price": 100.1}, ("price",)),
        ({"fee": 0.018}, ("fee",)),
        ({"bar": BAR, "booked": BAR}, ("time",)),
        ({"booked": BAR}, ("time",)),
        ({"fee": 0.02 * (1.0 + 1e-12)}, ()),
    ],
)
def test_what_differs_is_named(change, differences):
    assert names([replace(fill(), **change)], [fill()]) == [differences]


@pytest.mark.parametrize(
    "other",
    [
        fill(side=SHORT, is_buy=False), fill(purpose=Purpose.EXIT, is_buy=False), fill(symbol="OTHERUSDT"),
        fill(price=101.0), fill(bar=5), fill(purpose=None),
    ],
)  # fmt: skip
def test_another_leg_order_symbol_price_or_hour_is_another_fill(other):
    assert sorted(names([fill()], [other])) == [("extra",), ("missed",)]


def test_a_taker_is_the_same_at_any_price():
    close = fill(purpose=Purpose.CLOSE, maker=False, is_buy=False)
    assert names([replace(close, price=90.0)], [close]) == [("price",)]


def test_the_same_bar_comes_before_a_nearer_price():
    [one, other] = align([fill(bar=1, price=100.1)], [fill(bar=0), fill(bar=1)], near)
    assert (one.live, other.live.bar, other.backtest.bar) == (None, BAR, BAR)


fills = st.lists(
    st.builds(
        fill, bar=st.integers(0, 8), price=st.sampled_from([100.0, 100.2, 101.0, 103.0]),
        qty=st.sampled_from([0.5, 1.0]), purpose=st.sampled_from([Purpose.ENTRY, Purpose.EXIT]),
        maker=st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@given(fills, fills)
def test_every_fill_is_in_one_pair_and_the_order_given_does_not_matter(live, backtest):
    pairs = align(live, backtest, near)
    key = repr
    assert sorted((pair.live for pair in pairs if pair.live), key=key) == sorted(live, key=key)
    assert sorted((pair.backtest for pair in pairs if pair.backtest), key=key) == sorted(backtest, key=key)
    assert [pair.bar for pair in pairs] == sorted(pair.bar for pair in pairs)


@given(fills)
def test_a_list_against_itself_has_no_difference(live):
    assert all(pair.differences == () for pair in align(live, live, near))
