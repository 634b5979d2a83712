"""What an audit finds: nothing where nothing went wrong, else every kind of trouble under its name."""

import pytest
from live_market import Market

from gridv4_bt.audit.audit import audit
from gridv4_bt.audit.causes import Cause
from gridv4_bt.audit.chart import plot_audit
from gridv4_bt.live.ids import Purpose
from gridv4_bt.report.overview import DPI

SINGLE = "POST /fapi/v1/order"


def test_live_equals_backtest_in_every_fill_fee_funding_payment_and_bar(calm):
    assert calm.bars == (191, 191)
    assert calm.live.tolist() == calm.backtest.tolist()
    assert calm.differences == [] and calm.drift == 0.0 and calm.is_identical
    assert len(calm.matched) == len(calm.session.fills) == len(calm.replay.fills) > 40
    assert {pair.fill.purpose for pair in calm.pairs} >= {Purpose.ENTRY, Purpose.EXIT, Purpose.CLOSE}
    assert len(calm.payments) >= 3 and all(one.paid == other.paid != 0.0 for one, other in calm.payments)
    for pair in calm.pairs:
        assert pair.live.price == pair.backtest.price
        assert pair.live.qty == pytest.approx(pair.backtest.qty, rel=1e-12)
        assert pair.live.fee == pytest.approx(pair.backtest.fee, rel=1e-12)


def test_the_exchange_has_booked_the_same(calm, calm_scene):
    ledger = calm_scene.exchange.ledger
    assert sum(trade.qty for trade in ledger.trades) == pytest.approx(sum(fill.qty for fill in calm.session.fills))
    paid = [-income.amount for income in ledger.incomes if income.type == "FUNDING_FEE"]
    assert [one.paid for one, _ in calm.payments] == pytest.approx(paid, rel=1e-9)
    fees = -sum(income.amount for income in ledger.incomes if income.type == "COMMISSION")
    assert sum(fill.fee for fill in calm.replay.fills) == pytest.approx(fees, rel=1e-9)
    held = sum(book.unrealized(book.bar.close) for book in calm_scene.exchange.books.values())
    assert calm.backtest[-1] == pytest.approx(calm_scene.exchange.account.wallet + held, rel=1e-12)


@pytest.mark.parametrize(
    ("cause", "faults"),
    [
        (Cause.PARTIAL_FILL, [{"kind": "partial_cancel", "on": "DELETE /fapi/v1/batchOrders", "times": 3, "skip": 5}]),
        (Cause.POST_ONLY_REJECT, [{"kind": "post_only", "on": SINGLE, "times": 0}]),
        (Cause.MIN_NOTIONAL, [{"kind": "error", "code": -4164, "on": SINGLE, "times": 30}]),
        (Cause.LATE_POLL, [{"kind": "late_trades", "on": "GET /fapi/v1/userTrades", "times": 0, "ms": 1_000_000}]),
        (Cause.CANDLE_REVISED, [{"kind": "early_candle", "on": "GET /fapi/v1/klines", "times": 0, "probability": 0.3}]),
        (
            Cause.ORDER_IN_DOUBT,
            [
                {"kind": "lost_before", "on": "POST /fapi/v1/algoOrder"},
                {"kind": "gateway", "on": "GET /fapi/v1/algoOrder", "times": 7},
            ],
        ),
        (
            Cause.MANUAL_TRADE,
            [
                {
                    "kind": "by_hand", "on": "GET /fapi/v1/openOrders", "skip": 20, "symbol": "SAMPLEUSDT",
                    "side": "BUY", "positionSide": "LONG", "quantity": 0.01,
                }
            ],
        ),
        (
            Cause.FORCED_CLOSE,
            [
                {
                    "kind": "liquidated", "on": "GET /fapi/v1/openOrders", "times": 0, "symbol": "SAMPLEUSDT",
                    "positionSide": "LONG",
                }
            ],
        ),
    ],
)  # fmt: skip
def test_each_kind_of_trouble_shows_under_its_name(live, cause, faults):
    found = live(faults=faults)
    assert found.differences and found.drift > 0.0
    # the first difference has the cause itself; others may follow from it
    assert (found.differences[0].cause, found.differences[0].follows) == (cause, False)
    assert all(one.cause is not Cause.UNEXPLAINED for one in found.differences)
    counts = [one.cause for one in found.differences].count(cause)
    assert counts > len(found.differences) / 2


def test_bars_without_the_bot_are_an_outage(tmp_path):
    scene = Market(tmp_path / "state")
    scene.live(until=10)
    scene.exchange.advance_bars(8)
    scene.live()
    found = audit(scene.folder)
    ours, theirs = found.bars
    assert ours == theirs - 7  # the eighth is the newest when it comes back
    assert {one.cause for one in found.differences} == {Cause.OUTAGE}
    assert any(not one.follows for one in found.differences)


def test_chart(calm, tmp_path):
    plot_audit(calm, 0.01, tmp_path / "audit.png")
    header = (tmp_path / "audit.png").read_bytes()
    assert header[:4] == b"\x89PNG" and int.from_bytes(header[16:20], "big") == 12 * DPI
