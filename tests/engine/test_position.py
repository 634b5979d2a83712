import pytest

from gridv4_bt.engine.position import (
    LOT_NOISE,
    add_part,
    fee_of,
    net_pnl,
    part_of,
    realized_pnl,
    settle_fills,
    sum_fills,
    takes_all,
    unrealized_pnl,
)

PRICES, QTYS = [100.0, 110.0, 90.0], [2.0, 1.0, 2.0]


def test_quantity_and_cost_of_the_first_fills():
    assert sum_fills(QTYS, PRICES, 3) == (5.0, 490.0)
    assert sum_fills(QTYS, PRICES, 1) == (2.0, 200.0)
    assert sum_fills([], [], 0) == (0.0, 0.0)


@pytest.mark.parametrize("sign, pnl", [(1, 10.0), (-1, -10.0)])
def test_unrealised_and_realised(sign, pnl):
    assert unrealized_pnl(sign, 5.0, 490.0, 100.0) == pnl
    assert realized_pnl(sign, 2.0, 95.0, 100.0) == pnl


def test_fees_and_net():
    assert fee_of(2.0, 100.0, 0.0005) == pytest.approx(0.1)
    assert net_pnl(5.0, 1.0, -0.5) == 4.5


def test_a_settlement_is_charged_to_each_fill_by_its_quantity():
    fundings = [0.5, 0.0, 0.0]
    assert settle_fills(-1, 100.0, 0.01, QTYS, fundings, 3) == -5.0
    assert fundings == [-1.5, -1.0, -2.0]


def test_a_settlement_is_charged_to_the_first_fills_only():
    fundings = [0.0, 0.0, 0.0]
    # 3 units at 100 pay 1 %
    assert settle_fills(1, 100.0, 0.01, QTYS, fundings, 2) == 3.0
    assert fundings == [2.0, 1.0, 0.0]


def test_parts_of_a_fill_add_up():
    assert add_part(1.0, -4.0, 3.0, 10.0) == (4.0, 6.0)


def test_all_but_the_noise_of_lots_is_all():
    assert takes_all(2.0 * (1.0 - LOT_NOISE), 2.0)
    assert not takes_all(2.0 * (1.0 - 1.1 * LOT_NOISE), 2.0)
    assert LOT_NOISE == 1e-9


def test_parts():
    assert part_of(6.0, 0.5, 2.0) == 1.5
    assert takes_all(0.013 - 0.007, 0.006) and takes_all(0.006, 0.006)
    assert not takes_all(0.0059, 0.006)
