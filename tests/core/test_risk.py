import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.risk import Bracket, liquidation_prices, maintenance_margin, portfolio_var, safe_interval
from gridv4_bt.engine.market import check_brackets
from gridv4_bt.errors import MarketError

#: 1 % up to 1,000, 2 % up to 5,000, 5 % above; amounts 10 = 1000*(2%-1%) and 160 = 10 + 5000*(5%-2%)
TABLE = (Bracket(0, 1_000, 0.01, 0), Bracket(1_000, 5_000, 0.02, 10), Bracket(5_000, 20_000, 0.05, 160))
#: as steep as the exchange's own: 50 % at the top
STEEP = (
    Bracket(0, 50_000, 0.004, 0),
    Bracket(50_000, 250_000, 0.005, 50),
    Bracket(250_000, 1_000_000, 0.01, 1_300),
    Bracket(1_000_000, 10_000_000, 0.025, 16_300),
    Bracket(10_000_000, 20_000_000, 0.05, 266_300),
    Bracket(20_000_000, 50_000_000, 0.1, 1_266_300),
    Bracket(50_000_000, 200_000_000, 0.15, 3_766_300),
    Bracket(200_000_000, 500_000_000, 0.5, 73_766_300),
)


@pytest.mark.parametrize(
    ("notional", "margin"),
    [
        (0.0, 0.0),
        (500.0, 5.0),
        (999.0, 9.99),
        (1_000.0, 10.0),  # the border belongs to the upper bracket, which says the same
        (3_000.0, 50.0),
        (-3_000.0, 50.0),
        (5_000.0, 90.0),
        (10_000.0, 340.0),
        (40_000.0, 1_840.0),  # above the last cap
    ],
)
def test_maintenance_margin_is_rate_times_notional_less_amount(notional, margin):
    assert maintenance_margin(notional, TABLE) == pytest.approx(margin, rel=1e-15)


def test_check_brackets_accepts_a_continuous_table():
    check_brackets(TABLE)
    check_brackets(STEEP)


def test_check_brackets_accepts_an_amount_rounded_by_the_exchange():
    check_brackets((TABLE[0], TABLE[1], TABLE[2]._replace(amount=160.0001)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ((), "empty"),
        ((Bracket(1, 1_000, 0.01, 0),), "bracket 1 starts at 1, expected floor 0"),
        ((Bracket(0, 0, 0.01, 0),), "bracket 1 ends at 0"),
        ((Bracket(0, math.nan, 0.01, 0),), "bracket 1 ends at nan"),
        ((TABLE[0], TABLE[2]), "bracket 2 starts at 5000, expected floor 1000"),
        ((TABLE[0], TABLE[1]._replace(rate=0.009)), "bracket 2 has rate 0.009"),
        ((TABLE[0]._replace(rate=0.0),), "bracket 1 has rate 0.0"),
        ((TABLE[0]._replace(rate=1.0),), "bracket 1 has rate 1.0"),
        ((TABLE[0]._replace(rate=math.nan),), "bracket 1 has rate nan"),
        ((TABLE[0]._replace(amount=1.0),), "bracket 1 has maintenance amount 1.0, expected 0"),
        ((TABLE[0], TABLE[1]._replace(amount=11)), "bracket 2 has maintenance amount 11, expected 10"),
        ((*TABLE[:2], TABLE[2]._replace(amount=math.nan)), "bracket 3 has maintenance amount nan, expected 160"),
    ],
)
def test_check_brackets_names_the_wrong_bracket(table, message):
    with pytest.raises(MarketError, match=message):
        check_brackets(table)


def test_long_leg_is_liquidated_below():
    # 110 + 10*(p - 100) = 0.01*10p  =>  9.9p = 890
    assert liquidation_prices(110, 10, 100, 0, 0, TABLE) == (pytest.approx(890 / 9.9, rel=1e-15), None)


def test_short_leg_is_liquidated_above_in_the_bracket_it_grows_into():
    # 110 + 10*(100 - p) = 0.02*10p - 10  =>  10.2p = 1120, a notional of 1,098
    assert liquidation_prices(110, 0, 0, 10, 100, TABLE) == (None, pytest.approx(1120 / 10.2, rel=1e-15))


def test_a_hedge_whose_excess_no_price_changes_is_liquidated_everywhere_or_nowhere():
    # 1.01*(1 - 1 %) of LONG against 0.99*(1 + 1 %) of SHORT; the entries alone cost 2
    flat = (Bracket(0.0, 1e12, 0.01, 0.0),)
    assert liquidation_prices(1.0, 1.01, 100.0, 0.99, 100.0, flat) == (None, 0.0)
    assert liquidation_prices(3.0, 1.01, 100.0, 0.99, 100.0, flat) == (None, None)


def test_root_on_a_bracket_border():
    # at p = 100 the notional is 1,000, its margin 10 in either bracket: 210 + 10*(100 - 120) = 10
    assert liquidation_prices(210, 10, 120, 0, 0, TABLE) == (100.0, None)
    # 210 + 10*(80 - 100) = 10
    assert liquidation_prices(210, 0, 0, 10, 80, TABLE) == (None, 100.0)


def test_equal_hedge_dies_only_of_the_margin_that_grows_with_the_price():
    # equity stays 50; 2*(0.02*10p - 10) = 50  =>  p = 175
    assert liquidation_prices(50, 10, 100, 10, 100, TABLE) == (None, pytest.approx(175, rel=1e-15))


def test_each_leg_is_looked_up_by_its_own_notional():
    # long 10p in the first bracket, short 60p in the second (1,000 <= 60p < 5,000):
    # 1000 + 10*(p - 50) + 60*(50 - p) = 0.1p + (1.2p - 10)  =>  51.3p = 3510; 684 and 4,105
    assert liquidation_prices(1_000, 10, 50, 60, 50, TABLE) == (None, pytest.approx(3510 / 51.3, rel=1e-15))


def test_hedge_can_have_a_price_on_either_side():
    # excess = 30 - 10*100 + 9.5*100 + 0.5p - margins
    # down, both legs in the first bracket: -20 + 0.305p = 0
    # up, both legs in the third: -20 + 160 + 160 - 0.475p = 0
    down, up = liquidation_prices(30, 10, 100, 9.5, 100, TABLE)
    assert down == pytest.approx(20 / 0.305, rel=1e-14)
    assert up == pytest.approx(300 / 0.475, rel=1e-14)


@pytest.mark.parametrize(
    "book",
    [
        (110, 0, 0, 0, 0),
        (-5, 0, 0, 0, 0),  # a debt, but nothing to liquidate
        (1_000, 10, 100, 0, 0),  # paid in full
        (5_000, 10, 100, 1, 100),  # net long, and the wallet covers the short as well
    ],
)
def test_none_where_no_price_liquidates(book):
    assert liquidation_prices(*book, TABLE) == (None, None)


def test_book_no_price_can_save_gives_the_smallest_deficit_twice():
    # excess = -100 + 0.5p - margins; rising until the long leg enters the third bracket at p = 500,
    # where it is -100 + 250 - 90 - 85 = -25
    assert liquidation_prices(-50, 10, 100, 9.5, 100, TABLE) == (500.0, 500.0)


def test_book_best_at_price_zero_is_liquidated_at_every_price_above():
    assert liquidation_prices(-1, 10, 100, 10, 100, TABLE) == (None, 0.0)
    assert liquidation_prices(0, 10, 100, 10, 100, TABLE) == (None, 0.0)


def test_a_short_leg_alone_that_cost_more_than_it_brought_is_liquidated_at_every_price():
    # -2,000 + 10 * 100 are owed even at a price of 0
    assert liquidation_prices(-2_000, 0, 0, 10, 100, TABLE) == (None, 0.0)


def test_not_a_number_ends():
    assert math.isnan(liquidation_prices(math.nan, 10, 100, 10, 100, TABLE)[1])


def test_value_at_risk():
    # 10,000 * 1.65 * 0.002 * sqrt(96), and the net side does not matter
    assert portfolio_var(-10_000, 0.002) == pytest.approx(323.332646, abs=1e-6)
    assert portfolio_var(10_000, 0.002, periods=4, z=2.0) == pytest.approx(80.0)
    assert portfolio_var(-10_000, 0.002, z=1.0) == pytest.approx(195.959179, abs=1e-6)
    assert portfolio_var(0.0, 0.002) == 0.0


# --- an independent solver: margin as the integral of the marginal rate, a price grid, bisection ----------------------


class BruteForce:
    """Liquidation prices of one book without maintenance amounts, brackets by price or straight pieces."""

    GRID = np.geomspace(1e-9, 1e12, 6_000)

    def __init__(self, book, table):
        self.wallet, self.long_qty, self.long_entry, self.short_qty, self.short_entry = book
        self.rows = [(floor, cap, rate) for floor, cap, rate, _ in table[:-1]]
        self.rows.append((table[-1].floor, math.inf, table[-1].rate))

    def margin(self, notional):
        return sum(rate * np.clip(notional - floor, 0.0, cap - floor) for floor, cap, rate in self.rows)

    def scalar_margin(self, notional):
        return sum(rate * (min(notional, cap) - floor) for floor, cap, rate in self.rows if notional > floor)

    def equity(self, price):
        long = self.long_qty * (price - self.long_entry)
        return self.wallet + long + self.short_qty * (self.short_entry - price)

    def excess(self, price):
        margin = self.scalar_margin(self.long_qty * price) + self.scalar_margin(self.short_qty * price)
        return self.equity(price) - margin

    def gross(self, price):
        """The size of the numbers in the sum, which scales its rounding."""
        held = self.long_qty * (price + self.long_entry) + self.short_qty * (price + self.short_entry)
        return abs(self.wallet) + held

    def best_price(self):
        """The price of the highest excess: the best of a grid, refined between its neighbours."""
        grid = self.GRID * max(self.long_entry, self.short_entry)
        for _ in range(5):
            values = self.equity(grid) - self.margin(self.long_qty * grid) - self.margin(self.short_qty * grid)
            best = int(np.argmax(values))
            grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 201)
        return float(grid[100])

    def bisect(self, alive, dead):
        for _ in range(200):
            middle = math.sqrt(alive * dead) if max(alive, dead) > 2.0 * min(alive, dead) else (alive + dead) / 2.0
            if middle in (alive, dead):
                break
            alive, dead = (middle, dead) if self.excess(middle) > 0.0 else (alive, middle)
        return dead

    def prices(self, alive):
        ends = 1e-18 * self.long_entry, 1e30 * self.long_entry
        return tuple(None if self.excess(end) > 0.0 else self.bisect(alive, end) for end in ends)


def well_conditioned(book, table):
    """False where the excess at zero or its slope at infinity is nothing but rounding, so its sign is undecidable."""
    wallet, long_qty, long_entry, short_qty, short_entry = book
    at_zero = wallet - long_qty * long_entry + short_qty * short_entry
    slope = long_qty * (1.0 - table[-1].rate) - short_qty * (1.0 + table[-1].rate)
    size = abs(wallet) + long_qty * long_entry + short_qty * short_entry
    return abs(at_zero) > 1e-9 * size and abs(slope) > 1e-9 * (long_qty + short_qty)


def assert_same_as_brute_force(book, table):
    assume(well_conditioned(book, table))
    brute = BruteForce(book, table)
    got = liquidation_prices(*book, table)
    best = brute.best_price()
    noise = 1e-12 * brute.gross(best)
    assume(abs(brute.excess(best)) > noise)  # a peak that only touches zero is decided by rounding
    if brute.excess(best) < 0.0:
        down, up = safe_interval(*book, table)
        assert down == up
        assert brute.excess(up) >= brute.excess(best) - noise
        return
    for mine, theirs, outwards in zip(got, brute.prices(best), (-1.0, 1.0)):
        assert (mine is None) == (theirs is None)
        if mine is None:
            continue
        gross = brute.gross(mine)
        assert abs(brute.excess(mine)) <= 1e-9 * gross
        assert mine == pytest.approx(theirs, rel=1e-9) or abs(brute.excess(mine)) <= 1e-14 * gross
        inside = mine + min(1e-6 * mine, 0.5 * abs(best - mine)) * -outwards
        beyond = mine + 1e-6 * mine * outwards
        assert brute.excess(inside) > -1e-14 * gross
        assert brute.excess(beyond) < 1e-14 * gross


def magnitudes(low, high):
    """Positive floats spread evenly over the powers of ten."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


@st.composite
def books(draw, legs):
    """Books of 10 to 1e9 quote a leg whose entries lie within 30 % of each other."""
    price = draw(magnitudes(-2, 5))
    sizes = st.one_of(magnitudes(1, 9), st.sampled_from([50_000.0, 250_000.0, 1e6, 1e7, 5e7, 2e8]))
    long_size = draw(sizes) if "long" in legs else 0.0
    ratio = st.one_of(st.just(1.0), st.floats(0.7, 1.4), magnitudes(-3, 3))
    short_size = long_size * draw(ratio) if legs == "long and short" else draw(sizes) if "short" in legs else 0.0
    entries = price, price * draw(st.one_of(st.just(1.0), st.floats(0.7, 1.3)))
    leverage = draw(magnitudes(-0.5, 2.5))
    wallet = (long_size + short_size) / leverage * draw(st.sampled_from([1.0, 1.0, 1.0, -0.1]))
    return wallet, long_size / price, entries[0], short_size / price, entries[1]


@settings(max_examples=500, deadline=None)
@given(books("long"))
def test_one_long_leg_agrees_with_brute_force(book):
    assert_same_as_brute_force(book, STEEP)


@settings(max_examples=500, deadline=None)
@given(books("short"))
def test_one_short_leg_agrees_with_brute_force(book):
    assert_same_as_brute_force(book, STEEP)


@settings(max_examples=1_000, deadline=None)
@given(books("long and short"))
@example((100.0, 0.5, 60_000.0, 0.48, 50_000.0))
def test_two_legs_agree_with_brute_force(book):
    assert_same_as_brute_force(book, STEEP)


@settings(max_examples=500, deadline=None)
@given(books("long and short"), st.floats(0.5, 2.0))
def test_prices_scale_with_the_unit_of_the_base(book, factor):
    wallet, long_qty, long_entry, short_qty, short_entry = book
    down, up = safe_interval(*book, STEEP)
    assume(well_conditioned(book, STEEP) and down < 0.999 * up)
    scaled = wallet, long_qty * factor, long_entry / factor, short_qty * factor, short_entry / factor
    assert safe_interval(*scaled, STEEP) == pytest.approx((down / factor, up / factor), rel=1e-6)


# --- the exchange's own tables ----------------------------------------------------------------------------------------


@pytest.fixture
def published_tables(shared_data):
    """Every bracket table of the shared files, each once."""
    folder = shared_data / "brackets"
    current = json.loads((folder / "leverage_brackets_2026-09.json").read_text())["symbols"]
    history = json.loads((folder / "leverage_brackets_history.json").read_text())["symbols"]
    tables = list(current.values()) + [entry["tiers"] for entries in history.values() for entry in entries]
    columns = ("notionalFloor", "notionalCap", "maintMarginRate", "maintAmount")
    return sorted({tuple(Bracket(*(row[name] for name in columns)) for row in table) for table in tables})


def test_published_tables_are_continuous(published_tables):
    for table in published_tables:
        check_brackets(table)


def test_root_placed_in_every_published_bracket_and_on_its_border_is_found(published_tables):
    price = 250.0
    for table in published_tables:
        margin = BruteForce((0, 0, 0, 0, 0), table).scalar_margin
        for row in table:
            for notional in (row.floor, (row.floor + row.cap) / 2.0):
                qty = notional / price
                if qty == 0.0:
                    continue
                # 10 % away from the entry the loss leaves exactly the margin in the wallet
                wallet = 0.1 * notional + margin(notional)
                down, _ = liquidation_prices(wallet, qty, price * 1.1, 0, 0, table)
                _, up = liquidation_prices(wallet, 0, 0, qty, price * 0.9, table)
                assert (down, up) == (pytest.approx(price, rel=1e-9), pytest.approx(price, rel=1e-9))


def test_two_legs_on_published_tables_agree_with_brute_force(published_tables):
    @settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(published_tables), books("long and short"))
    def check(table, book):
        assert_same_as_brute_force(book, table)

    check()
