"""Orders of this product that are not the bot's: refused at the start, adopted or cancelled on request."""

import pytest
from live_market import LIVELY, InProcess, events, run_until_killed

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.live.state import NAME, PREVIOUS
from gridv4_bt.validation.laws import Law, by_law

ALWAYS = (*LIVELY, "regime=none")


def left_behind(scene, server, bars=6):
    """Run a session that dies with entries, exits and stops open, and return its name."""
    with scene.session(server.url, bars) as session:
        run_until_killed(session)
        session.save()
        return session.bot


def bots(scene):
    records = scene.exchange.order_records
    return {parse_id(one.client_id).bot for one in (*records.open_orders(), *records.open_algos())}


def purposes(scene, bot):
    records = scene.exchange.order_records
    names = [parse_id(one.client_id) for one in (*records.open_orders(), *records.open_algos())]
    return {name.purpose for name in names if name.bot == bot}


def test_a_new_state_directory_refuses_to_start_beside_the_orders_of_another_bot(market, tmp_path):
    scene = market(bars=16, settings=ALWAYS)
    with InProcess(scene.api) as server:
        bot = left_behind(scene, server)
        before = len(scene.exchange.order_records.open_orders())
        scene.folder = tmp_path / "another"
        with pytest.raises(ConfigError, match=f"of bot {bot}.*--foreign-orders adopt"), scene.session(server.url):
            pass
    assert len(scene.exchange.order_records.open_orders()) == before > 0


def test_adopted_it_goes_on_as_that_bot(market, tmp_path):
    scene = market(bars=16, settings=ALWAYS)
    with InProcess(scene.api) as server:
        bot = left_behind(scene, server)
        held = scene.exchange.ledger.positions
        numbers = [parse_id(one.client_id).generation for one in scene.exchange.order_records.orders.values()]
        scene.folder = tmp_path / "another"
        with scene.session(server.url, foreign_orders="adopt") as session:
            assert session.bot == bot
            assert session.reconciler.order_sync.generation > max(numbers)
            run_until_killed(session)
        quantities = {side: position.qty for (_, side), position in held.items()}
        assert {leg.side: leg.tracker.qty for leg in session.broker.books[0].legs} == pytest.approx(quantities)
    assert bots(scene) == {bot}
    assert by_law(scene.laws.violations)[Law.ONE] == 0
    assert any("foreign orders" in alert for alert in scene.alerts)


def test_cancelled_only_stops_of_held_legs_stay(market, tmp_path):
    scene = market(bars=16, settings=ALWAYS)
    with InProcess(scene.api) as server:
        bot = left_behind(scene, server)
        scene.folder = tmp_path / "another"
        with scene.session(server.url, foreign_orders="cancel") as session:
            assert session.bot != bot
            assert purposes(scene, bot) <= {Purpose.STOP}
            run_until_killed(session)
        assert bots(scene) == {session.bot}
    assert by_law(scene.laws.violations)[Law.ONE] == 0


def test_with_both_states_deleted_name_and_numbers_come_from_journal_and_exchange(market):
    scene = market(bars=16, settings=ALWAYS)
    with InProcess(scene.api) as server:
        bot = left_behind(scene, server)
        for name in (NAME, PREVIOUS):
            (scene.folder / name).unlink(missing_ok=True)
        with scene.session(server.url) as session:
            assert session.bot == bot
            run_until_killed(session)
    assert bots(scene) == {bot}
    assert by_law(scene.laws.violations)[Law.ONE] == 0
    assert any("state rebuilt" in alert for alert in scene.alerts)


def test_a_second_bot_is_noticed_within_minutes_and_nothing_is_added_beside_it(market, tmp_path):
    scene = market(bars=30, settings=ALWAYS, watch=20.0)
    with InProcess(scene.api) as server, scene.session(server.url) as session:

        def on_bar(symbol):
            if session.bars == 6:  # it does not know that the first one runs
                more = {"positionSide": "LONG", "newClientOrderId": "g4zzzz.SAMPLEUSDT.EL4.1", "timeInForce": "GTX"}
                session.gateway.client.create_order("SAMPLE/USDT:USDT", "limit", "buy", 0.01, 20_000.0, more)

        session._on_bar = on_bar
        session.run()
    [told] = [one for one in events(scene, "alert") if one["what"] == "second_bot"]
    added = [one["clock"] for one in events(scene, "order") if parse_id(one["id"]).purpose is Purpose.ENTRY]
    assert min(added) < told["clock"] and max(added) < told["clock"]
    assert [one for one in events(scene, "order") if one["clock"] > told["clock"]]  # stops and exits go on


def test_the_choices_are_those_of_the_command_line():
    assert SessionPlan([], None, None).foreign_orders == "refuse"
