"""What positions and opening orders bind, and what may still be opened."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import TEST

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Costs, Entry
from gridv4_bt.engine.ladder import CANCEL, KEEP, PLACE, REPLACE, Blocked
from gridv4_bt.engine.margin import (
    add_maintenance,
    capacity,
    free_margin,
    has_caps,
    is_new,
    opening_limit,
    position_notional,
    refusal_of,
    refuse_entries,
    revalue,
    room,
)


@pytest.fixture
def book():
    """2 LONG and 3 SHORT at 100."""
    made = Book(TEST, Account(10_000.0), Costs(0.0, 0.0, 0.0))
    for leg, qty in ((made.long, 2.0), (made.short, 3.0)):
        made.account.open_fill(made.symbol, leg.tracker, qty, 100.0, 0, 0, 0.0, 0.0, maker=True)
    return made


def test_both_legs_bind_margin_and_do_not_offset_each_other(book):
    assert position_notional(book, 110.0) == 5.0 * 110.0


def test_maintenance_is_that_of_each_leg_by_itself(book):
    rate = TEST.brackets[0].rate
    assert add_maintenance(7.0, book, 110.0) == pytest.approx(7.0 + rate * 220.0 + rate * 330.0)


def test_capacity_is_what_position_entries_and_orders_leave(book):
    book.long.place(-1, Entry(90.0, 1.0, 0.01))
    book.long.leg.ordered = 50.0
    # 1,000 - 2*110 held - 90 resting - 50 ordered
    assert capacity(1_000.0, book.long.leg, 110.0) == 640.0


def test_entries_and_single_orders_of_both_legs_bind_margin(book):
    account = book.account
    book.bar.close = 100.0
    revalue(account, [book])
    before = free_margin(account, [book], 5.0)
    book.long.place(-1, Entry(90.0, 1.0, 0.01))
    book.short.place(1, Entry(110.0, 2.0, 0.01))
    book.long.leg.ordered, book.short.leg.ordered = 50.0, 30.0
    # 90 and 220 resting, 50 and 30 ordered, at leverage 5
    assert before - free_margin(account, [book], 5.0) == pytest.approx(390.0 / 5.0)


@pytest.mark.parametrize(
    ("notional", "limit"), [(100.0, Blocked.PLACED), (100.1, Blocked.MARGIN), (200.1, Blocked.MAX_POSITION)]
)
def test_an_order_may_use_all_of_both_limits_and_no_more(notional, limit):
    assert opening_limit(notional, capacity=200.0, room=1e9, free_margin=20.0, leverage=5.0) == limit


def test_an_order_that_fills_the_capacity_exactly_is_within_it():
    assert opening_limit(200.0, capacity=200.0, room=200.0, free_margin=100.0, leverage=5.0) == Blocked.PLACED


def test_an_account_is_worth_its_wallet_and_what_is_unrealised(book):
    book.bar.close = 110.0
    revalue(book.account, [book])
    # LONG +20, SHORT -30; 5 units at 110
    assert (book.account.value, book.account.held_notional) == (9_990.0, 550.0)
    revalue(book.account, [Book(TEST, book.account, book.costs)])
    assert (book.account.value, book.account.held_notional) == (10_000.0, 0.0)


@pytest.mark.parametrize("side", [0, 1])
def test_a_leg_alone_is_valued_and_binds_margin(side):
    book = Book(TEST, Account(1_000.0), Costs(0.0, 0.0, 0.0))
    book.account.open_fill(book.symbol, book.legs[side].tracker, 2.0, 100.0, 0, 0, 0.0, 0.0, maker=True)
    book.bar.close = 110.0
    revalue(book.account, [book])
    assert (book.account.value, book.account.held_notional) == ((1_020.0, 220.0), (980.0, 220.0))[side]
    assert add_maintenance(0.0, book, 110.0) == pytest.approx(2.2)


# --- which new entries are refused


def ladder(equity, long, short):
    """A flat account at 100 with levels of (action, qty) at 100; KEEP rests, PLACE and REPLACE are new."""
    book = Book(TEST, Account(equity), Costs(0.0, 0.0, 0.0))
    book.bar.close = 100.0
    for leg, levels in ((book.long, long), (book.short, short)):
        leg.reserve(len(levels))
        for i, (action, qty) in enumerate(levels):
            leg.prices[i], leg.qtys[i], leg.actions[i] = 0.0 if action == CANCEL else 100.0, float(qty), action
        leg.entries_changed()
    revalue(book.account, [book])
    return book


def refused(book, max_notional, leverage, others=(), **caps):
    """Return whether any was refused, and the codes of LONG and of SHORT; what is refused rests no more."""
    terms = GridConfig(leverage=leverage, **caps)
    any_refused = refuse_entries(book.account, [*others, book], book, max_notional, terms)
    for leg in book.legs:
        assert [price > 0.0 for price in leg.prices] == [
            code == Blocked.PLACED and action != CANCEL for code, action in zip(leg.codes, leg.actions, strict=True)
        ]
        rests = [qty for price, qty in zip(leg.prices, leg.qtys, strict=True) if price > 0.0]
        assert (leg.entry_count, leg.entry_notional) == (len(rests), 100.0 * sum(rests))
    return any_refused, [int(code) for code in book.long.codes], [int(code) for code in book.short.codes]


OK, MARGIN, MOST = int(Blocked.PLACED), int(Blocked.MARGIN), int(Blocked.MAX_POSITION)
CAP = int(Blocked.CAP)


def test_entries_that_use_all_of_margin_and_position_are_not_refused():
    # 600 of notional on each side bind 600 of 600 at leverage 2, and a side may hold 600
    assert refused(ladder(600.0, [(PLACE, 6)], [(PLACE, 6)]), 600.0, 2.0) == (False, [OK], [OK])
    for equity, most in ((599.0, 600.0), (600.0, 599.0)):
        assert refused(ladder(equity, [(PLACE, 6)], [(PLACE, 6)]), most, 2.0)[0] is True


def test_margin_is_given_to_long_first_and_to_the_nearest_level_first():
    # 3 levels of 100 fit into 150 at leverage 2
    book = ladder(150.0, [(PLACE, 1), (REPLACE, 1)], [(PLACE, 1), (PLACE, 1)])
    assert refused(book, 1e9, 2.0) == (True, [OK, OK], [OK, MARGIN])


def test_what_rests_already_is_never_refused():
    # 200 of the 250 that fit rest, though they are farther away
    book = ladder(125.0, [(PLACE, 1), (KEEP, 1)], [(KEEP, 1)])
    assert refused(book, 1e9, 2.0) == (True, [MARGIN, OK], [OK])


def test_a_smaller_level_may_fit_where_a_nearer_one_did_not():
    book = ladder(100.0, [(PLACE, 3), (PLACE, 1)], [(PLACE, 1)])
    assert refused(book, 1e9, 2.0) == (True, [MARGIN, OK], [OK])


@pytest.mark.parametrize("side", [0, 1])
def test_a_side_beyond_its_largest_position_leaves_its_margin_to_the_other(side):
    # a side may hold 200; 300 of the other fit
    full, other = [(PLACE, 1), (PLACE, 2)], [(PLACE, 2)]
    book = ladder(150.0, *((full, other) if side == 0 else (other, full)))
    any_refused, *codes = refused(book, 200.0, 2.0)
    assert (any_refused, codes[side], codes[1 - side]) == (True, [OK, MOST], [OK])


def test_a_position_takes_its_part_of_what_its_leg_may_hold(book):
    # LONG holds 200 of 250 at 100, SHORT 300
    book.bar.close = 100.0
    revalue(book.account, [book])
    for leg in book.legs:
        leg.place(1, Entry(100.0, 0.5, 0.01))
        leg.actions[0] = PLACE
    assert refused(book, 250.0, 2.0) == (True, [OK], [MOST])


levels = st.lists(st.tuples(st.sampled_from([KEEP, CANCEL, PLACE, REPLACE]), st.integers(1, 4)), max_size=4)


@given(st.integers(0, 20), levels, levels, st.integers(0, 12))
@example(0, [], [], 0)
def test_entries_are_refused_one_after_another(margin, long, short, most):
    # in hundreds: what is kept counts first, then each new order takes what it needs or is refused
    book = ladder(50.0 * margin, long, short)
    free = margin - sum(qty for action, qty in long + short if action == KEEP)
    expected = []
    for side in (long, short):
        room = most - sum(qty for action, qty in side if action == KEEP)
        codes = []
        for action, qty in side:
            code = OK
            if action in (PLACE, REPLACE):
                code = MOST if qty > room else MARGIN if qty > free else OK
            if code == OK and action in (PLACE, REPLACE):
                room, free = room - qty, free - qty
            codes.append(code)
        expected.append(codes)
    any_refused, *codes = refused(book, 100.0 * most, 2.0)
    assert codes == expected
    assert any_refused or not any(map(any, codes))


def test_new_is_what_did_not_rest_before_and_a_refusal_is_one_of_the_exchange(book):
    leg = book.long
    leg.reserve(4)
    for i, action in enumerate((KEEP, CANCEL, PLACE, REPLACE)):
        leg.actions[i] = action
    assert [is_new(leg, i) for i in range(4)] == [False, False, True, True]
    for i, code in enumerate((Blocked.PLACED, Blocked.MARGIN, Blocked.MAX_POSITION, Blocked.OCCUPIED)):
        leg.codes[i] = code
    assert [refusal_of(leg, i) for i in range(4)] == [OK, MARGIN, MOST, OK]


# --- caps of the account


@pytest.fixture
def two():
    """Two symbols at 100 in one wallet of 1,000: LONG 2 and SHORT 1 of one, LONG 1 of the other, which orders more."""
    account = Account(1_000.0)
    held, orders = Book(TEST, account, Costs(0.0, 0.0, 0.0)), Book(TEST, account, Costs(0.0, 0.0, 0.0))
    for book, leg, qty in ((held, held.long, 2.0), (held, held.short, 1.0), (orders, orders.long, 1.0)):
        book.bar.close = orders.bar.close = 100.0
        account.open_fill(book.symbol, leg.tracker, qty, 100.0, 0, 0, 0.0, 0.0, maker=True)
    held.long.place(-1, Entry(90.0, 1.0, 0.01))
    orders.short.place(1, Entry(110.0, 3.0, 0.01))
    revalue(account, [held, orders])
    return account, held, orders


@pytest.mark.parametrize(
    ("cap", "long", "short"),
    [
        # LONG holds 100, SHORT has 330 resting: 500 - 100 and 500 - 330
        ({"cap_leg": 0.5}, 400.0, 170.0),
        # both legs of the symbol: 500 - 430
        ({"cap_symbol": 0.5}, 70.0, 70.0),
        # LONG of both symbols 200 + 90 + 100, SHORT 100 + 330
        ({"cap_side": 0.5}, 110.0, 70.0),
        # all together 390 + 430
        ({"cap_gross": 1.0}, 180.0, 180.0),
        # LONG 390 less 100 that SHORT holds; SHORT 430 less 300 that LONG holds: what rests is no hedge yet
        ({"cap_net": 0.5}, 210.0, 370.0),
        ({"cap_leg": 0.5, "cap_symbol": 0.5, "cap_gross": 0.83}, 10.0, 10.0),
        # beyond it already
        ({"cap_side": 0.3}, -90.0, -130.0),
    ],
)
def test_a_cap_leaves_what_all_resting_orders_would_not_use(two, cap, long, short):
    account, held, orders = two
    terms = GridConfig(**cap)
    assert has_caps(terms)
    left = [room(account, [held, orders], orders, sign, terms) for sign in (1, -1)]
    assert left == pytest.approx([long, short])


def test_without_caps_there_is_no_limit(two):
    account, held, orders = two
    assert not has_caps(GridConfig())
    assert room(account, [held, orders], orders, 1, GridConfig()) == float("inf")


def test_a_cap_is_given_to_long_first_and_to_the_nearest_level_first():
    # 300 of 1,000 for both legs of the symbol
    book = ladder(1_000.0, [(PLACE, 1), (REPLACE, 1)], [(PLACE, 1), (PLACE, 1)])
    assert refused(book, 1e9, 5.0, cap_symbol=0.3) == (True, [OK, OK], [OK, CAP])
    book = ladder(1_000.0, [(PLACE, 1), (REPLACE, 1)], [(PLACE, 1), (PLACE, 1)])
    assert refused(book, 1e9, 5.0, cap_symbol=0.4) == (False, [OK, OK], [OK, OK])


def test_each_side_has_its_own_cap_and_the_other_symbols_count():
    other = ladder(1_000.0, [(KEEP, 2)], [])
    book = ladder(1_000.0, [(PLACE, 1), (PLACE, 1)], [(PLACE, 2)])
    assert refused(book, 1e9, 5.0, others=[other], cap_side=0.3) == (True, [OK, CAP], [OK])


@given(data=st.data())
@settings(deadline=None)
def test_if_all_resting_orders_are_filled_no_cap_is_exceeded_by_what_was_placed(data):
    """Against plain sums; what rested before the order may be beyond a cap already, then nothing new is placed."""
    levels = st.lists(st.tuples(st.sampled_from([KEEP, PLACE, REPLACE, CANCEL]), st.integers(1, 4)), max_size=5)
    other = ladder(1_000.0, data.draw(levels), data.draw(levels))
    book = ladder(1_000.0, data.draw(levels), data.draw(levels))
    names = ("cap_leg", "cap_symbol", "cap_side", "cap_gross", "cap_net")
    caps = {name: data.draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])) for name in names}
    kept = {
        leg.sign: sum(100.0 * q for a, q in zip(leg.actions, leg.qtys, strict=True) if a == KEEP) for leg in book.legs
    }
    refused(book, 1e9, 100.0, others=[other], **caps)
    now = {leg.sign: leg.leg.entry_notional for leg in book.legs}
    others = {leg.sign: leg.leg.entry_notional for leg in other.legs}
    for sign in (1, -1):
        if now[sign] == kept[sign]:
            continue
        used = {
            "cap_leg": now[sign],
            "cap_symbol": now[1] + (now[-1] if sign < 0 else kept[-1]),
            "cap_side": now[sign] + others[sign],
            "cap_gross": now[1] + (now[-1] if sign < 0 else kept[-1]) + others[1] + others[-1],
            "cap_net": now[sign] + others[sign],
        }
        for name, cap in caps.items():
            assert cap == 0.0 or used[name] <= 1_000.0 * cap + 1e-9
