"""Rounding for the exchange: never past what was meant, exact in decimal."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gridv4_bt.live.quantise import price_text, quantity_text

ticks = st.sampled_from([0.1, 0.01, 0.5, 1.0, 0.0001, 0.001, 1e-7, 10.0])


@pytest.mark.parametrize(
    ("price", "tick", "buy", "sell"),
    [
        (100.04, 0.1, "100", "100.1"),
        (100.1, 0.1, "100.1", "100.1"),
        (0.1 + 0.2, 0.1, "0.3", "0.3"),  # 0.30000000000000004
        (38999.99999999999, 0.1, "39000", "39000"),
        (0.00001234, 1e-7, "0.0000123", "0.0000124"),
        (123.4, 0.5, "123", "123.5"),
    ],
)
def test_buys_round_down_and_sells_up(price, tick, buy, sell):
    assert price_text(price, tick, True) == buy
    assert price_text(price, tick, False) == sell


def test_quantities_round_down():
    assert quantity_text(0.0129999, 0.001) == "0.012"
    assert quantity_text(0.013 - 0.007 - 0.005, 0.001) == "0.001"  # 0.0009999999999999992


@given(st.integers(1, 10**7), ticks)
def test_a_multiple_stays_what_it_is(count, tick):
    exact = Decimal(str(tick)) * count
    for text in (price_text(count * tick, tick, True), price_text(count * tick, tick, False)):
        assert Decimal(text) == exact


@given(st.floats(0.001, 1e6), ticks)
def test_the_text_is_on_the_grid_and_not_past_the_price(price, tick):
    assume(price / tick < 1e8)  # beyond, a float cannot tell one tick from the next
    unit = Decimal(str(tick))
    low, high = Decimal(price_text(price, tick, True)), Decimal(price_text(price, tick, False))
    assert low % unit == 0 and high % unit == 0
    assert high - low in (0, unit)
    noise = unit * Decimal("2e-6")
    assert low - noise <= Decimal(price) <= high + noise
