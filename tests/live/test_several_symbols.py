"""Two symbols in one wallet live: the same as the backtest of both, and each goes on when the other cannot."""

import pytest
from live_market import differences, rows

from feeds.synthetic import SYMBOL
from gridv4_bt.analysis.files import write_equity, write_trades
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread

SECOND = "ETHUSDT"


@pytest.fixture
def pair(market):
    """A market of two symbols: ``pair(bars=..., faults=[...])``."""
    return lambda **more: market(second=SECOND, **more)


def unequal(scene, folder) -> list[str]:
    """Return where the files of a session differ from those of the backtest of the same candles."""
    records, _ = scene.backtest()
    write_trades(folder / "trades.csv", records)
    write_equity(folder / "equity.csv", records)
    names = ("trades.csv", "equity.csv")
    return [one for name in names for one in differences(rows(scene.folder / name), rows(folder / name))]


def check_books(scene, session) -> None:
    """Books and exchange hold the same, and what is held has a stop."""
    for ours in session.broker.books():
        theirs = scene.exchange.books[ours.symbol]
        for side in PositionSide:
            assert ours.leg(side).tracker.qty == pytest.approx(theirs.leg(side).tracker.qty, abs=1e-9)
            assert (theirs.leg(side).stop is not None) == bool(theirs.leg(side).tracker.ids)


def test_two_symbols_live_equal_their_backtest(pair, tmp_path):
    scene = pair()
    session = scene.live()
    assert unequal(scene, tmp_path) == []
    assert {trade.symbol for trade in session.broker.account.closed} == {SYMBOL, SECOND}
    assert scene.alerts == []


def test_stopped_and_started_again_in_the_middle_they_go_on_as_if_nothing_had_happened(pair, tmp_path):
    scene = pair()
    with ServerThread(scene.desk) as server:
        for until in (13, 8, None):  # once between the two symbols of a bar
            with scene.session(server.url, until) as session:
                session._cerebro.run()
                session.save()
    assert unequal(scene, tmp_path) == []


def test_a_candle_that_comes_late_holds_up_both_and_changes_nothing(pair, tmp_path):
    late = Fault(kind="error", status=503, code=-1008, on="/fapi/v1/klines", skip=9, times=2)
    scene = pair(bars=12)
    scene.desk.faults = Faults([late])
    scene.live()
    assert unequal(scene, tmp_path) == []
