"""A session under answers that are late, empty, stale or wrong: never bare, never doubled, nothing invented.

The laws are checked inside the exchange at every request; each case is one that once broke them.
"""

import pytest
from live_market import LIVELY, InProcess, events, run_until_killed

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.errors import LiveError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.validation.laws import Law, by_law

ALWAYS = (*LIVELY, "regime=none")
#: Stops so near that they are triggered, and legs that are filled again in the same candle.
TIGHT = (*ALWAYS, "stop2_atr=1.2", "stop1_atr=1.0")
MINUTE_MS = 60_000


def held_bare(scene):
    return [one for one in scene.laws.violations if one.law is Law.STOP]


BARE = {
    "refilled after its stop": (TIGHT, []),
    "the stop vanishes": (ALWAYS, [{"kind": "stop_vanishes", "on": "/openAlgoOrders", "skip": 20, "times": 3}]),
    "trades half an hour late": (
        ALWAYS, [{"kind": "late_trades", "on": "/userTrades", "bars": 2, "times": 0, "skip": 3}],
    ),
    "positions empty for 20 s": (
        ALWAYS,
        [
            {"kind": "empty_positions", "on": "/positionRisk", "times": 9, "lasts": 20, "probability": 0.02},
            {"kind": "stop_vanishes", "on": "/openAlgoOrders", "skip": 20, "times": 3},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BARE)
def test_a_held_leg_has_a_stop_within_a_minute(market, case):
    settings, faults = BARE[case]
    scene = market(bars=40, settings=settings, faults=faults, watch=20.0, by_minute=True)
    session = scene.live()
    assert session.broker.account.fills > 8
    assert held_bare(scene) == []


def test_without_the_watch_the_same_leg_is_bare(market):
    """The law notices it."""
    settings, faults = BARE["refilled after its stop"]
    scene = market(bars=40, settings=settings, faults=faults, by_minute=True)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        session.clock.every(20.0, lambda: None)  # the exchange's time goes on in small steps all the same
        session.run()
    assert held_bare(scene)


def test_late_trades_are_no_transfer_and_nobodys_but_ours(market):
    scene = market(bars=40, settings=ALWAYS, watch=20.0, faults=BARE["trades half an hour late"][1])
    session = scene.live()
    account = session.broker.account
    assert account.fills > 8 and account.start == 10_000.0
    said = " ".join(scene.alerts)
    for what in ("wallet differs", "drawdown", "adopted", "written off", "reconciled"):
        assert what not in said


def test_a_part_filled_between_close_and_poll_is_our_own(market):
    """The order is cancelled at that candle; the execution belongs to the next bar."""
    rule = {"kind": "partial_then_cancel", "on": "GET /fapi/v1/openOrders", "times": 0, "probability": 0.3}
    scene = market(bars=40, settings=ALWAYS, faults=[rule | {"only": "opens"}, rule | {"only": "closes"}])
    session = scene.live()
    assert session.broker.account.fills > 8
    assert not any("reconciled" in alert for alert in scene.alerts)
    assert session.broker.account.start == 10_000.0


# --- bans and limits


def test_nothing_is_sent_in_a_ban_and_a_person_knows(market):
    rule = {"kind": "escalating_ban", "on": "/klines", "seconds": 3600, "most": 86_400, "skip": 12, "times": 1}
    scene = market(bars=24, settings=ALWAYS, watch=20.0, faults=[rule])
    scene.live()
    assert by_law(scene.laws.violations)[Law.BAN] == 0
    assert any("silenced" in alert and "3600" in alert for alert in scene.alerts)
    assert any("no decision" in alert for alert in scene.alerts)


def test_a_new_process_does_not_extend_the_ban_either(market):
    scene = market(bars=24, settings=ALWAYS, watch=20.0)
    with InProcess(scene.api) as server:
        with scene.session(server.url) as session:

            def on_bar(symbol):
                if session.bars == 4:
                    scene.api.faults = Faults([Fault(kind="escalating_ban", on="*", seconds=3600)])
                    session.clock.every(5.0, lambda: session.connection.gate.is_open or scene.stop.set())

            session._on_bar = on_bar
            run_until_killed(session)
            session.save()
        banned_until = session.connection.gate.silent_until
        assert banned_until > session.clock.now() + 3000_000
        with scene.session(server.url, 1) as session:
            assert session.clock.now() >= banned_until
    assert by_law(scene.laws.violations)[Law.BAN] == 0


def test_a_limit_on_orders_holds_up_neither_stops_nor_candles(market):
    rule = {"kind": "too_many", "on": "POST /fapi/v1/order", "seconds": 30, "times": 0}
    batch = rule | {"on": "POST /fapi/v1/batchOrders"}
    scene = market(bars=24, settings=ALWAYS, watch=20.0, faults=[rule | {"only": "opens"}, batch | {"only": "opens"}])
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        late, decided = [], session.decided

        def watched(strategy, bar):
            late.append(session.clock.now() - bar - BAR_MS)
            decided(strategy, bar)

        session.decided = watched
        run_until_killed(session)
    assert len(late) == 24 and max(late) < 2 * MINUTE_MS
    assert any("entries refused again" in alert for alert in scene.alerts)


def test_orders_that_were_not_taken_are_placed_before_the_next_candle(market):
    rules = [{"kind": "error", "code": -1015, "status": 429, "on": on, "times": 1} for on in ("/order", "/batchOrders")]
    scene = market(
        bars=4, settings=ALWAYS, watch=20.0, faults=[rule | {"on": f"POST /fapi/v1{rule['on']}"} for rule in rules]
    )
    session = scene.live()
    first = events(scene, "order_failed")[0]
    placed = [one for one in events(scene, "order") if one["clock"] > first["clock"]]
    assert session.bars == 5 and placed
    assert placed[0]["clock"][:15] == first["clock"][:15]  # within ten minutes


# --- doubled orders


def test_an_order_with_a_number_that_is_not_found_is_not_sent_again(market):
    rules = [
        {"kind": "stale_not_found", "on": "GET /fapi/v1/order", "times": 0},
        {"kind": "short_orders", "on": "GET /fapi/v1/openOrders", "times": 0, "probability": 0.5},
    ]
    scene = market(bars=24, settings=ALWAYS, faults=rules)
    scene.live()
    assert by_law(scene.laws.violations)[Law.ONE] == 0
    assert any("order not found" in alert for alert in scene.alerts)


# --- a moment's trouble


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "error", "code": -2015, "status": 401, "on": "openOrders", "lasts": 20, "skip": 4},
        {"kind": "clock", "ms": 60_000, "on": "openOrders", "times": 2, "skip": 4},
    ],
    ids=["-2015", "-1021 twice"],
)
def test_a_moments_trouble_is_no_halt(market, rule):
    scene = market(bars=12, settings=ALWAYS, watch=20.0, faults=[rule])
    assert scene.live().bars == 13


def test_a_key_that_stays_refused_ends_the_session_after_minutes(market):
    scene = market(bars=12, settings=ALWAYS, watch=20.0)
    dead = [Fault(kind="error", code=-2015, status=401, on=on, times=0) for on in ("openOrders", "positionRisk")]
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        began = []

        def on_bar(symbol):
            if session.bars == 3:
                began.append(session.clock.now())
                scene.api.faults = Faults(dead)

        session._on_bar = on_bar
        with pytest.raises(LiveError, match="check the key"):
            session.run()
        assert session.clock.now() - began[0] >= 5 * MINUTE_MS
    assert any("locked out" in alert for alert in scene.alerts)


# --- no silence


def test_a_bar_without_a_decision_reaches_a_person_within_20_minutes(market):
    scene = market(bars=12, settings=ALWAYS, watch=20.0, faults=[
        {"kind": "gateway", "on": "/klines", "skip": 8, "times": 0, "lasts": 0},
    ])  # fmt: skip
    session = scene.live()
    missed = 13 - session.bars
    told = [one for one in events(scene, "alert") if one["what"] == "no_decision"]
    assert missed > 3 and len(told) >= missed - 1
    for one in told:
        hours, minutes = int(one["clock"][11:13]), int(one["clock"][14:16])
        due = int(one["bar"][11:13]) * 60 + int(one["bar"][14:16])
        assert 0 <= (hours * 60 + minutes - due) % 1440 <= 20


def test_the_wallet_follows_a_transfer_that_the_income_shows(market):
    scene = market(bars=10, settings=ALWAYS)
    with InProcess(scene.api) as server, scene.session(server.url) as session:

        def on_bar(symbol):
            if session.bars == 3:
                server.call(lambda: scene.exchange.ledger.earn("TRANSFER", 500.0, scene.exchange.now))

        session._on_bar = on_bar
        session.run()
    assert session.broker.account.start == pytest.approx(10_500.0)
    [told] = [one for one in events(scene, "alert") if one["what"] == "wallet_differs"]
    assert told["difference"] == pytest.approx(500.0)


def test_a_difference_that_nothing_explains_waits_for_an_hour(market):
    scene = market(bars=14, settings=ALWAYS)
    with InProcess(scene.api) as server, scene.session(server.url) as session:

        def on_bar(symbol):
            if session.bars == 3:
                server.call(lambda: scene.exchange.ledger.earn("COMMISSION", -50.0, scene.exchange.now, SYMBOL))

        session._on_bar = on_bar
        session.run()
    whats = [one["what"] for one in events(scene, "alert")]
    assert whats.count("wallet_unexplained") == 2 and whats.index("wallet_differs") > whats.index("wallet_unexplained")
    assert session.broker.account.start == pytest.approx(9_950.0)
