"""The account in its database."""

import json
import sqlite3

import pytest
from paper_exchange import QUARTER, STILL, Rest, make_exchange

from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.database import Database

WILD = [(100.0, 103.0, 97.0, 101.0, 20.0), (101.0, 104.0, 98.0, 100.0, 20.0)] * 20


@pytest.fixture
def open_rest(tmp_path):
    """Open the account of a file, as often as wanted; each closes the one before as a crash would."""
    opened = []

    def open_one(name="account.db", **options):
        for store in opened:
            store.close()
        opened[:] = [Database(tmp_path / name)]
        options = {"bars": WILD, "funding": [(0, 0.0), (6, 0.001)], "participation": 0.05} | options
        return Rest(Api(make_exchange(**options), store=opened[0]))

    yield open_one
    for store in opened:
        store.close()


def account_view(rest):
    """All that an owner can ask for."""
    paths = [
        ("account", "v3"),
        ("positionRisk", "v3"),
        ("openOrders", "v1"),
        ("openAlgoOrders", "v1"),
        ("income", "v1"),
        ("symbolConfig", "v1"),
        ("positionSide/dual", "v1"),
        ("time", "v1"),
    ]
    asked = [rest.get(path, version) for path, version in paths]
    return [*asked, rest.get("userTrades", symbol="TESTUSDT"), rest.get("allOrders", symbol="TESTUSDT")]


def trade_a_while(rest):
    rest.post("positionSide/dual", dualSidePosition="true")
    rest.post("leverage", symbol="TESTUSDT", leverage=7)
    rest.market("BUY", "LONG", 3.0)
    rest.limit("BUY", "LONG", 2.5, 98.5)
    rest.stop("SELL", "LONG", 90.0)
    rest.stop("SELL", "LONG", 91.0, 1.0, "STOP", price=90.5)
    rest.post(
        "algoOrder", algoType="CONDITIONAL", symbol="TESTUSDT", side="SELL", positionSide="LONG",
        type="TRAILING_STOP_MARKET", quantity="1", callbackRate="5",
    )  # fmt: skip
    rest.post("countdownCancelAll", symbol="TESTUSDT", countdownTime=9 * QUARTER)
    step(rest, 2)


def step(rest, bars):
    from gridv4_bt.exchange.messages import Request

    assert rest.api.respond(Request("POST", "/gridv4/advance", body=json.dumps({"bars": bars}))).status == 200


def test_account_goes_on_where_it_was(open_rest):
    rest = open_rest()
    trade_a_while(rest)
    before = account_view(rest)
    assert before[2][0]["status"] == "PARTIALLY_FILLED"
    again = open_rest()
    assert account_view(again) == before
    step(again, 12)
    undisturbed = Rest(Api(make_exchange(WILD, funding=[(0, 0.0), (6, 0.001)], participation=0.05)))
    trade_a_while(undisturbed)
    step(undisturbed, 12)
    assert account_view(again) == account_view(undisturbed)


def test_state_is_kept_within_a_bar(open_rest):
    rest = open_rest(intrabar="path")
    trade_a_while(rest)
    rest.exchange.advance(rest.exchange.now + 1)
    rest.market("BUY", "LONG", 1.0)
    price, now = rest.exchange.books["TESTUSDT"].price, rest.exchange.now
    again = open_rest(intrabar="path")
    assert (again.exchange.books["TESTUSDT"].price, again.exchange.now) == (price, now)
    assert again.exchange.replay.moment == 1


def test_account_at_the_end_of_its_candles(open_rest):
    rest = open_rest(bars=[STILL] * 4)
    step(rest, 3)
    assert open_rest(bars=[STILL] * 4).exchange.replay.over


def test_one_request_is_one_transaction(open_rest):
    rest = open_rest()
    rest.post("positionSide/dual", dualSidePosition="true")
    rest.market("BUY", "LONG", 3.0)
    kept = Database.__dict__["_put"]

    def fails_half_way(self, table, number, content):
        if table == "incomes":
            raise sqlite3.OperationalError("database or disk is full")
        kept(self, table, number, content)

    before = account_view(rest)
    Database._put = fails_half_way
    try:
        assert rest.market("BUY", "LONG", 3.0) == {"code": -1001, "msg": "Service Unavailable."}
        assert rest.status == 503
    finally:
        Database._put = kept
    assert account_view(rest) == before
    assert account_view(open_rest()) == before
    assert open_rest().market("BUY", "LONG", 3.0)["status"] == "FILLED"


def test_database_of_other_candles_is_refused(open_rest):
    trade_a_while(open_rest())
    with pytest.raises(ConfigError, match="belongs to other candles"):
        open_rest(symbols=("OTHERUSDT",))


def test_history_may_be_longer_when_the_account_goes_on(open_rest, tmp_path):
    """The state knows the time of its bar, not its number."""
    rest = open_rest(bars=[STILL] * 20, first=5)
    rest.post("positionSide/dual", dualSidePosition="true")
    rest.market("BUY", "LONG", 1.0)
    step(rest, 3)
    again = open_rest(bars=[STILL] * 30, first=2)
    assert (again.exchange.now, again.exchange.replay.bar) == (rest.exchange.now, 8)
    assert account_view(again) == account_view(rest)


def test_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="a.db: file is not a database"):
        Database(tmp_path / "a.db")


def test_database_has_one_user(tmp_path):
    first = Database(tmp_path / "a.db")
    with pytest.raises(ConfigError, match="a.db: database is locked"):
        Database(tmp_path / "a.db")
    first.close()
