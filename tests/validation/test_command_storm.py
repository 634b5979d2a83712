"""The laws of commands notice a bot that loses one, does one twice, or does not obey."""

import json
import random
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.messages import Request
from gridv4_bt.live.command_files import ANSWER, FOLDER, Action, Command, write_whole
from gridv4_bt.live.journal import Journal
from gridv4_bt.validation.command_storm import CommandStorm
from gridv4_bt.validation.laws import Law, Laws, by_law

SYMBOL = "BTCUSDT"


class Scene:
    """A state directory, an exchange of which only the positions are asked for, and a storm over both."""

    def __init__(self, folder):
        self.folder = folder
        self.laws = Laws(lambda order_id: order_id)
        self.held = {(SYMBOL, side): SimpleNamespace(qty=0.0) for side in PositionSide}
        self.exchange = SimpleNamespace(now=0, ledger=SimpleNamespace(positions=self.held))
        self.storm = CommandStorm(random.Random(1), folder, SYMBOL, 1.0, 1_000, self.laws, None)
        (folder / "state.json").write_text('{"commands": {"done": []}}')

    def give(self, action, scope="account"):
        """Let the storm give a command of an action and a scope; return its id."""
        number = f"command-{len(self.storm._given):02}"
        self.storm._new = lambda held: Command(number, action, scope, "a test", "2026")
        self.storm._wait = 0.0
        self.storm.look(self.exchange)
        return number

    def obey(self, number, state="done"):
        write_whole(self.folder / FOLDER / f"{number}{ANSWER}", {"id": number, "state": state})
        (self.folder / FOLDER / f"{number}.json").unlink()

    def send(self, side, position_side):
        text = urlencode({"symbol": SYMBOL, "side": side, "positionSide": position_side, "newClientOrderId": "x"})
        self.storm.observe(self.exchange, Request("POST", "/fapi/v1/order", "", text))

    def broken(self):
        return +by_law(self.laws.violations)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_an_entry_after_a_pause_breaks_the_law_and_an_exit_does_not(scene):
    number = scene.give(Action.PAUSE, f"{SYMBOL} LONG")
    scene.send("BUY", "LONG")  # it is not obeyed yet
    scene.obey(number)
    scene.send("SELL", "LONG")
    scene.send("SELL", "SHORT")
    assert not scene.broken()
    scene.send("BUY", "LONG")
    assert scene.broken() == {Law.PAUSE: 1}


def test_what_may_have_been_resumed_may_add_again(scene):
    scene.obey(scene.give(Action.PAUSE, f"{SYMBOL} LONG"))
    scene.give(Action.RESUME)  # the bot may take it up at any moment
    scene.send("BUY", "LONG")
    assert not scene.broken()


def test_a_symbol_that_is_taken_out_is_not_resumed_with_the_account(scene):
    scene.obey(scene.give(Action.TAKE_OUT, SYMBOL))
    scene.obey(scene.give(Action.RESUME))
    scene.send("SELL", "SHORT")
    assert scene.broken() == {Law.PAUSE: 1}


def test_a_leg_that_is_held_after_it_was_closed_breaks_the_law(scene):
    number = scene.give(Action.FLATTEN, f"{SYMBOL} LONG")
    scene.held[SYMBOL, PositionSide.LONG].qty = 1.0
    scene.send("SELL", "LONG")
    scene.held[SYMBOL, PositionSide.LONG].qty = 0.0
    scene.obey(number)
    scene.held[SYMBOL, PositionSide.SHORT].qty = 1.0
    scene.send("SELL", "LONG")
    assert not scene.broken()
    scene.held[SYMBOL, PositionSide.LONG].qty = 0.5
    scene.send("SELL", "LONG")
    assert scene.broken() == {Law.FLAT: 1}


def test_a_command_without_an_answer_is_lost(scene):
    scene.obey(scene.give(Action.PAUSE))
    scene.storm.judge(0)
    assert not scene.broken()
    scene.obey(scene.give(Action.PAUSE), state="works")
    scene.give(Action.RESYNC)
    scene.storm.judge(0)
    assert scene.broken() == {Law.LOST: 2}


def test_a_command_that_is_done_twice_is_noticed(scene):
    number = scene.give(Action.PAUSE)
    scene.obey(number)
    (scene.folder / "state.json").write_text(json.dumps({"commands": {"done": [number, number]}}))
    scene.storm.judge(0)
    assert scene.broken() == {Law.TWICE: 1}


def test_a_command_that_is_carried_out_again_must_be_carried_out_alike(scene):
    scene.obey(scene.give(Action.PAUSE))
    journal = Journal(scene.folder)
    record = {"orders": [], "command": {"id": "one-command"}, "leaves": {"BTCUSDT LONG": {"1": 0.5}}}
    journal.write([record, record])
    scene.storm.judge(0)
    assert not scene.broken()
    journal.write([record | {"leaves": {"BTCUSDT LONG": {"1": 0.25}}}])
    scene.storm.judge(0)
    assert scene.broken() == {Law.TWICE: 1}
    journal.close()


def test_nothing_is_given_at_the_end_so_that_all_can_be_answered(scene):
    scene.exchange.now = 1_000
    for _ in range(100):
        scene.storm.look(scene.exchange)
    assert not scene.storm.counts
