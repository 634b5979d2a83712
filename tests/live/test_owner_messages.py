"""Messages of a session to its owner."""

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.live.owner_messages import Messages

QUARTER, DAY = 900.0, 86_400.0


class Watched:
    """Figures that a test sets."""

    def __init__(self):
        self.figures = {"equity": 1_000.0, "bar_time_seconds": 0.0}


@pytest.fixture
def session():
    """Monitor, account, and what has been told."""
    return Watched(), Account(1_000.0), []


def messages(session, with_fills=False):
    monitor, account, told = session
    return Messages(monitor, lambda: account, lambda title, text: told.append((title, text)), with_fills)


FILL = {"symbol": "BTCUSDT", "side": "SHORT", "buy": False, "qty": 0.015, "price": 40_453.3}


def test_start_and_stop_are_told(session):
    one = messages(session)
    one.event("session", {"place": "binance", "symbols": ["BTCUSDT", "ETHUSDT"], "wallet": 2_000.5, "resumed": True})
    one.event("session", {"place": "binance", "stopped": True, "bars": 1_234})
    assert session[2] == [
        ("GridStrategyV4: started", "goes on on binance with BTCUSDT, ETHUSDT, wallet 2,000.50"),
        ("GridStrategyV4: stopped", "on binance after 1,234 bars"),
    ]


def test_fills_are_told_if_wanted_those_of_a_candle_in_one_message(session):
    one = messages(session, with_fills=True)
    for _ in range(3):
        one.event("fill", FILL)
    one.bar("BTCUSDT")
    one.bar("BTCUSDT")
    line = "BTCUSDT SHORT: sold 0.015 at 40,453.3"
    assert session[2] == [("GridStrategyV4: fills", f"{line}\n{line}\n{line}")]


def test_fills_are_not_told_unless_wanted(session):
    one = messages(session)
    one.event("fill", FILL)
    one.bar("BTCUSDT")
    assert session[2] == []


def test_a_day_has_one_digest_with_its_own_figures(session):
    monitor, account, told = session
    one = messages(session)
    account.fees, account.funding = 5.0, 1.0  # of the days before
    one.bar("BTCUSDT")
    one.event("fill", FILL)
    account.fees, account.funding = 5.25, 0.5
    monitor.figures = {"equity": 1_010.0, "bar_time_seconds": DAY}
    one.bar("BTCUSDT")
    one.event("audit", {"drift": 0.0001, "missed": 1, "extra": 0})  # it is carried out after the first candle of a day
    assert told == []
    for bar in (1, 2):
        monitor.figures = {"equity": 1_010.0, "bar_time_seconds": DAY + bar * QUARTER}
        one.bar("BTCUSDT")
    assert told == [
        (
            "GridStrategyV4: 1970-01-01",
            "equity 1,010.00 (+1.00%), 1 fills, fees 0.25, funding paid -0.50, "
            "audit: drift 0.0100%, 1 missed and 0 extra fills",
        )
    ]


def test_a_digest_without_an_audit_says_how_to_have_one(session):
    monitor, _, told = session
    one = messages(session)
    for time in (0.0, DAY, DAY + QUARTER, 2 * DAY, 2 * DAY + QUARTER):
        monitor.figures = {"equity": 1_000.0, "bar_time_seconds": time}
        one.bar("BTCUSDT")
    assert [title for title, _ in told] == ["GridStrategyV4: 1970-01-01", "GridStrategyV4: 1970-01-02"]
    assert all(text.endswith("audit: none (--max-drift)") for _, text in told)
