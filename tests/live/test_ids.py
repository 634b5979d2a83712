"""Client order ids: content in, content out, within what Binance accepts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import ACCEPTED, OrderKey, Purpose, make_id, parse_id, symbol_tag

BINANCE_ALPHABET = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
keys = st.builds(
    OrderKey,
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=20).map(lambda text: text + "USDT"),
    st.sampled_from(PositionSide),
    st.sampled_from(Purpose),
    st.integers(0, 36**6 - 1),
)


def test_an_id_tells_what_the_order_is_for():
    key = OrderKey("BTCUSDT", PositionSide.LONG, Purpose.ENTRY, 3)
    assert make_id("g4a7f", key, 71) == "g4a7f.BTCUSDT.EL3.1z"


@given(keys, st.integers(0, 36**6 - 1))
def test_every_id_is_accepted_and_read_back(key, generation):
    text = make_id("g4a7fx", key, generation)
    assert BINANCE_ALPHABET.match(text) and ACCEPTED.fullmatch(text)
    found = parse_id(text)
    assert found.serves(key)
    assert (found.bot, found.generation) == ("g4a7fx", generation)


@given(keys, keys, st.integers(0, 1000), st.integers(0, 1000))
def test_two_orders_never_share_an_id(one, other, first, second):
    if (one, first) != (other, second):
        assert make_id("g4", one, first) != make_id("g4", other, second)


@pytest.mark.parametrize("text", [None, "", "web_123", "x-cvBPrNm9abc", "autoclose-1", "g4.BTCUSDT.ZL3.1", "a" * 37])
def test_an_order_of_somebody_else_has_no_parts(text):
    assert parse_id(text) is None


def test_long_and_odd_symbols_keep_their_own_tags():
    assert symbol_tag("BTCUSDT") == "BTCUSDT"
    assert symbol_tag("1000000MOGUSDT") != symbol_tag("1000000BOBUSDT")
    assert len(symbol_tag("1000000MOGUSDT")) == 12


@pytest.mark.parametrize("bot", ["", "UPPER", "toolong", "a.b"])
def test_a_bot_name_that_would_not_be_read_back_is_refused(bot):
    with pytest.raises(ValueError, match="client order id"):
        make_id(bot, OrderKey("BTCUSDT", PositionSide.LONG, Purpose.EXIT, 1), 1)
