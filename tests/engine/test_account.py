import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.engine.account import Account, settle_funding
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.tracker import PositionTracker
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.whole_account import next_worst_of_leg

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
MAKER, TAKER = 0.0002, 0.0005


def open_fill(account, leg, qty, price, fee_rate=MAKER, maker=True):
    return account.open_fill("X", leg, qty, price, 900_000, 1, 0.01, fee_rate, maker)


def close_fill(account, leg, index, qty, price, label=TradeLabel.GRID, fee_rate=MAKER, maker=True):
    return account.close_fill("X", leg, index, qty, price, 1_800_000, label, fee_rate, maker)


def test_a_new_account_has_its_start_and_nothing_else():
    assert Account(1_000.0).totals() == {
        "start": 1_000.0, "wallet": 1_000.0, "gross": 0.0, "fees": 0.0, "funding": 0.0, "fills": 0,
        "maker_executions": 0, "taker_executions": 0, "liquidations": 0,
    }  # fmt: skip


def test_a_new_account_is_worth_its_start():
    account = Account(1_000.0)
    assert (account.value, account.held_notional, account.closed, account.executions) == (1_000.0, 0.0, [], [])


def test_saved_totals_are_those_of_another_account():
    account, saved, leg = Account(1_000.0), Account(1.0), PositionTracker(LONG)
    open_fill(account, leg, 2.0, 100.0)
    close_fill(account, leg, 0, 2.0, 110.0, maker=False)
    saved.restore(account.totals())
    assert saved.totals() == account.totals()
    assert (saved.gross, saved.fills, saved.maker_executions, saved.taker_executions) == (20.0, 1, 1, 1)


def test_a_correction_of_funding_is_shared_by_quantity():
    account, long, short = Account(1_000.0), PositionTracker(LONG), PositionTracker(SHORT)
    open_fill(account, long, 3.0, 100.0, fee_rate=0.0)
    open_fill(account, short, 1.0, 100.0, fee_rate=0.0)
    account.correct_funding([long, short], 0.8)
    assert (long.fundings, short.fundings) == ([pytest.approx(0.6)], [pytest.approx(0.2)])
    assert (account.wallet, account.funding) == (pytest.approx(999.2), 0.8)


def test_a_correction_with_nothing_open_moves_the_wallet_alone():
    account = Account(1_000.0)
    account.correct_funding([PositionTracker(LONG)], -0.5)
    assert (account.wallet, account.funding) == (1_000.5, -0.5)


def test_opening_costs_the_fee_alone():
    account, leg = Account(1_000.0), PositionTracker(LONG)
    # 2 * 100 * 0.02 %
    assert open_fill(account, leg, 2.0, 100.0) == 1
    assert account.wallet == pytest.approx(999.96)
    assert account.fees == pytest.approx(0.04)
    assert leg.fees == pytest.approx([0.04])
    assert account.gross == 0.0


@pytest.mark.parametrize(("side", "gross"), [(LONG, 20.0), (SHORT, -20.0)])
def test_closing_books_gross_and_fee(side, gross):
    account, leg = Account(1_000.0), PositionTracker(side)
    open_fill(account, leg, 2.0, 100.0)
    trade = close_fill(account, leg, 0, 2.0, 110.0, TradeLabel.OLDEST, TAKER, maker=False)
    # fees: 200 * 0.02 % + 220 * 0.05 %
    assert trade.gross == pytest.approx(gross)
    assert trade.fees == pytest.approx(0.15)
    assert trade.net == pytest.approx(gross - 0.15)
    assert account.wallet == pytest.approx(1_000.0 + gross - 0.15)
    assert (trade.trade_id, trade.side, trade.label, trade.regime) == (1, side, TradeLabel.OLDEST, 1)
    assert (trade.open_time, trade.close_time, trade.entry, trade.exit) == (900_000, 1_800_000, 100.0, 110.0)
    assert account.closed == [trade]


def test_part_closed_fill_gives_a_trade_for_each_part_with_its_share():
    account, leg = Account(1_000.0), PositionTracker(LONG)
    open_fill(account, leg, 4.0, 100.0)  # fee 0.08
    settle_funding(account, leg.leg, leg.columns, 100.0, 0.001)  # 0.4
    first = close_fill(account, leg, 0, 1.0, 110.0)
    second = close_fill(account, leg, 0, 3.0, 120.0)
    assert (first.trade_id, second.trade_id) == (1, 1)
    assert (first.funding, second.funding) == pytest.approx((0.1, 0.3))
    assert (first.fees, second.fees) == pytest.approx((0.02 + 0.022, 0.06 + 0.072))
    assert (first.gross, second.gross) == pytest.approx((10.0, 60.0))
    assert account.wallet == pytest.approx(1_000.0 + first.net + second.net)


@pytest.mark.parametrize(("side", "gross"), [(LONG, 20.0), (SHORT, -20.0)])
def test_a_fill_closed_at_once_is_its_own_bullet(side, gross):
    account, leg = Account(1_000.0), PositionTracker(side)
    open_fill(account, leg, 2.0, 100.0)
    trade = close_fill(account, leg, 0, 2.0, 110.0)
    assert (trade.bullet_qty, trade.bullet_net) == (2.0, trade.net)
    assert trade.net == pytest.approx(gross - 0.04 - 0.044)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_last_part_of_a_fill_has_the_sums_of_all_and_the_others_none(side):
    account, leg = Account(1_000.0), PositionTracker(side)
    open_fill(account, leg, 4.0, 100.0)  # fee 0.08
    open_fill(account, leg, 1.0, 100.0)
    # stage 1: 1 at 90, fees 0.02 + 0.045 taker; exit: 3 at 120, fees 0.06 + 0.072
    first = close_fill(account, leg, 0, 1.0, 90.0, TradeLabel.STOP1, TAKER, maker=False)
    assert (first.bullet_qty, first.bullet_net) == (0.0, 0.0)
    assert [(fill.closed_qty, fill.closed_net) for fill in leg.fills] == [(1.0, first.net), (0.0, 0.0)]
    other = close_fill(account, leg, 1, 1.0, 100.0)
    second = close_fill(account, leg, 0, 3.0, 120.0)
    assert (first.net, second.net) == pytest.approx((int(side) * -10.0 - 0.065, int(side) * 60.0 - 0.132))
    assert (second.bullet_qty, second.bullet_net) == (4.0, first.net + second.net)
    assert (other.bullet_qty, other.bullet_net) == (1.0, other.net)


def test_funding_received_raises_the_wallet():
    account, leg = Account(1_000.0), PositionTracker(SHORT)
    open_fill(account, leg, 2.0, 100.0, fee_rate=0.0)
    settle_funding(account, leg.leg, leg.columns, 90.0, 0.001)
    assert account.wallet == pytest.approx(1_000.18)
    assert account.funding == pytest.approx(-0.18)


def test_ids_are_unique_in_the_account_across_legs():
    account = Account(1_000.0)
    long, short = PositionTracker(LONG), PositionTracker(SHORT)
    ids = [open_fill(account, leg, 1.0, 100.0) for leg in (long, short, long)]
    assert ids == [1, 2, 3]
    assert (long.ids, short.ids) == ([1, 3], [2])


def test_executions_tell_what_each_one_costs():
    account, leg = Account(1_000.0), PositionTracker(LONG)
    open_fill(account, leg, 2.0, 100.0)
    settle_funding(account, leg.leg, leg.columns, 100.0, 0.001)  # 0.2
    close_fill(account, leg, 0, 2.0, 110.0)
    opened, closed = account.executions
    assert (opened.opens, opened.costs, opened.gross) == (True, pytest.approx(0.04), 0.0)
    assert (closed.opens, closed.fee, closed.gross) == (False, pytest.approx(0.044), pytest.approx(20.0))
    assert closed.costs == pytest.approx(0.044 + 0.2)


def test_maker_and_taker_executions_are_counted_apart():
    account, leg = Account(1_000.0), PositionTracker(LONG)
    open_fill(account, leg, 2.0, 100.0)
    close_fill(account, leg, 0, 1.0, 110.0)
    close_fill(account, leg, 0, 1.0, 110.0, fee_rate=TAKER, maker=False)
    assert (account.maker_executions, account.taker_executions) == (2, 1)


def test_quantity_that_is_all_but_float_noise_is_booked_as_the_whole_fill():
    account, leg = Account(1_000.0), PositionTracker(LONG)
    open_fill(account, leg, 0.013, 100.0, fee_rate=0.0)
    close_fill(account, leg, 0, 0.007, 110.0, fee_rate=0.0)
    close_fill(account, leg, 0, 0.006, 110.0, fee_rate=0.0)
    assert leg.ids == []
    assert sum(trade.qty for trade in account.closed) == pytest.approx(0.013, rel=1e-15)
    assert account.wallet == pytest.approx(1_000.13)


steps = st.one_of(
    st.tuples(st.just("open"), st.floats(1e-3, 10.0), st.floats(10.0, 1e5)),
    st.tuples(st.just("close"), st.floats(1e-6, 1.0), st.floats(10.0, 1e5)),
    st.tuples(st.just("fund"), st.floats(-0.003, 0.003), st.floats(10.0, 1e5)),
    st.tuples(st.just("correct"), st.floats(-0.003, 0.003), st.floats(10.0, 1e5)),
)


@given(st.lists(st.tuples(st.sampled_from([LONG, SHORT]), steps, st.booleans()), max_size=60))
def test_wallet_is_start_plus_gross_less_fees_less_funding(stream):
    account = Account(10_000.0)
    legs = {side: PositionTracker(side) for side in (LONG, SHORT)}
    moved = 10_000.0
    for side, (kind, amount, price), maker in stream:
        leg, rate = legs[side], MAKER if maker else TAKER
        if kind == "open":
            open_fill(account, leg, amount, price, rate, maker)
        elif kind == "fund":
            settle_funding(account, leg.leg, leg.columns, price, amount)
        elif kind == "correct":
            if any(leg.ids for leg in legs.values()):
                account.correct_funding(list(legs.values()), amount * price)
        elif leg.ids:
            index = next_worst_of_leg(leg.leg, leg.columns, price, -math.inf, 0)[2]
            close_fill(account, leg, index, amount * leg.qtys[index], price, fee_rate=rate, maker=maker)
        moved += abs(account.gross) + account.fees + abs(account.funding)
        identity = account.start + account.gross - account.fees - account.funding
        assert account.wallet == pytest.approx(identity, rel=1e-9, abs=1e-9 * moved)
    # what the trades and the open fills carry adds up to the account's totals
    carried = [leg.fees for leg in legs.values()]
    fees = math.fsum(trade.fees for trade in account.closed) + math.fsum(map(math.fsum, carried))
    funding = math.fsum(trade.funding for trade in account.closed)
    funding += math.fsum(math.fsum(leg.fundings) for leg in legs.values())
    assert fees == pytest.approx(account.fees, rel=1e-9, abs=1e-12)
    assert funding == pytest.approx(account.funding, rel=1e-9, abs=1e-9 * moved)
    assert math.fsum(trade.gross for trade in account.closed) == pytest.approx(account.gross, abs=1e-9 * moved)
    assert account.fills == account.maker_executions + account.taker_executions - len(account.closed)
