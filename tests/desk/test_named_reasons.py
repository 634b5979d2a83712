"""Why a level has no order, forced one by one and read at the desk beside the bot; and what differs from its plan."""

import json
import time

import pytest

pytest.importorskip("fastapi")

from live_market import LIVELY, Market, events, run_until_killed

from gridv4_bt.desk.access import READS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.command_files import Action, Command, write_command
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.validation.laws import Law, by_law

ALWAYS = (*LIVELY, "regime=none")


class Watched:
    """A session, and a desk beside it that is asked after some of its bars."""

    def __init__(self, desk, tmp_path, **more):
        self.scene = Market(tmp_path / "busy", **more)
        self.symbol = self.scene.data[0].symbol
        self.folder = self.scene.folder
        self._desk, self._browser = desk, None
        self._at = {}

    def get(self, path):
        if self._browser is None:
            self._browser = self._desk(self.folder)
            self._browser.log_in(self._browser.rights.tokens[READS])
        status, found = self._browser.get(f"/bots/busy{path}")
        assert status == 200
        return found

    def ladder(self):
        return self.get("/orders")["ladder"]

    def reasons(self):
        return {level["reason"]: level["why"] for level in self.ladder() if not level["open"]}

    def at(self, bars, do):
        self._at[bars] = do

    def run(self, **plan):
        with ServerThread(self.scene.api) as self.server, self.scene.session(self.server.url, **plan) as session:
            self.session, seen = session, session._on_bar

            def on_bar(symbol):
                seen(symbol)
                if session.bars in self._at:
                    self._at[session.bars](session)

            session._on_bar = on_bar
            session.run()
        return session


@pytest.fixture
def watched(desk, tmp_path):
    return lambda **more: Watched(desk, tmp_path, **more)


@pytest.mark.parametrize(
    ("settings", "reason", "why"),
    [
        (("cap_leg=0.06",), "CAP", "a cap of the account would be exceeded"),
        (("order_pct=0.001",), "MIN_QTY", "smaller than the least quantity"),
        (("order_pct=0.6", "max_inventory=9", "leverage=1"), "MARGIN", "margin is insufficient"),
        (("z_halt=-0.0001", "z_resume=1000"), "HALT", "circuit breaker"),
    ],
)
def test_what_keeps_a_level_without_an_order_is_named(watched, settings, reason, why):
    bot, found = watched(bars=6, settings=(*ALWAYS, *settings)), {}
    bot.at(6, lambda _: found.update(bot.reasons()))
    bot.run()
    assert why in found[reason], found


def test_a_pause_is_named(watched):
    bot, found = watched(bars=4, settings=ALWAYS), {}
    leg = f"{bot.symbol} SHORT"
    bot.at(2, lambda _: write_command(bot.folder, Command("pause-01", Action.PAUSE, leg, "a test", "2026")))
    bot.at(4, lambda _: found.update(ladder=bot.ladder(), legs=bot.get("/legs")))
    bot.run()
    for level in found["ladder"]:
        assert (level["reason"] == "PAUSED") == (level["side"] == "SHORT")
    assert {level["why"] for level in found["ladder"] if level["side"] == "SHORT"} == {"paused by a person"}
    assert [row["paused"] for row in found["legs"] if row["side"] != "NET"] == [[], [leg]]


def test_stale_data_are_named(watched):
    """The process is alive and decides nothing, as without candles: no old reason is shown as if it were of now."""
    bot, found = watched(bars=4, settings=(*ALWAYS, "order_pct=0.001")), {}

    def fall_silent(session):
        path = bot.folder / "heartbeat.json"
        beat = json.loads(path.read_text())
        path.write_text(json.dumps(beat | {"at": time.time() - 1_800.0}))
        found["ladder"] = bot.ladder()
        path.write_text(json.dumps(beat))
        found["fresh"] = bot.ladder()

    bot.at(4, fall_silent)
    bot.run()
    missing = [level for level in found["ladder"] if not level["open"]]
    assert missing and {level["reason"] for level in missing} == {"STALE"}
    assert all(level["why"].startswith("stale: nothing was decided for 30 minutes") for level in missing)
    assert all(level["reason"] != "STALE" for level in found["fresh"])


def test_a_rung_that_was_cancelled_by_hand_is_placed_again_once(watched):
    bot, found = watched(bars=16, settings=ALWAYS), {}
    scene = bot.scene

    def rungs():
        names = [parse_id(order.client_id) for order in scene.exchange.order_records.open_orders(bot.symbol)]
        return sorted((name.side, name.ref) for name in names if name.purpose is Purpose.ENTRY)

    def look(session):
        found["rungs"], found["ladder"] = rungs(), bot.ladder()
        found["placed"] = [parse_id(one["id"]) for one in events(scene, "order")]

    with ServerThread(scene.api) as server:
        with scene.session(server.url, until=5) as session:
            run_until_killed(session)
        before = rungs()
        orders = scene.exchange.order_records.open_orders(bot.symbol)
        gone = next(order for order in orders if parse_id(order.client_id).purpose is Purpose.ENTRY)
        server.call(lambda: scene.exchange.cancel(gone))
        with scene.session(server.url) as session:
            seen = session._on_bar

            def on_bar(symbol):
                seen(symbol)
                if session.bars == 1:
                    look(session)

            session._on_bar = on_bar
            session.run()
    name = parse_id(gone.client_id)
    assert (name.side, name.ref) in before
    assert len(found["rungs"]) == len(set(found["rungs"]))  # nothing is doubled
    placed = [other for other in found["placed"] if other[2:5] == name[2:5]]
    resting = [level for level in found["ladder"] if level["open"]]
    assert sorted((PositionSide[one["side"]], one["level"]) for one in resting) == found["rungs"]
    level = next(one for one in found["ladder"] if (one["side"], one["level"]) == (name.side.name, name.ref))
    assert level["open"] and len(placed) == 2  # the one that was cancelled, and its successor
    for level in found["ladder"]:
        assert level["open"] or (level["why"] and level["reason"] is not None), level
    assert by_law(scene.laws.violations)[Law.ONE] == 0


def test_a_position_that_is_closed_by_hand_is_told_within_a_bar_and_its_leg_adds_nothing(watched):
    bot, found = watched(bars=12), {}  # a SHORT is held at bar 9

    def close(session):
        short = session.broker.books[0].short
        assert short.tracker.qty > 0.0
        bot.server.call(lambda: bot.scene.exchange.trade_by_hand(bot.symbol, "BUY", "SHORT", short.tracker.qty))

    def look(name):
        return lambda _: found.update({name: (bot.get("")["mismatch"], bot.ladder())})

    bot.at(9, close)
    bot.at(10, look("next"))
    bot.at(11, look("settled"))
    bot.run()
    banner, ladder = found["next"]
    assert "closed by somebody else" in banner[0]["text"]
    for level in ladder:
        assert (level["reason"] == "MISMATCH") == (level["side"] == "SHORT")
    assert "exchange and bot differed" in next(one["why"] for one in ladder if one["side"] == "SHORT")
    banner, ladder = found["settled"]
    assert banner  # it stays for a day
    assert all(level["reason"] != "MISMATCH" for level in ladder)
