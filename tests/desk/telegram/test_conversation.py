"""What is answered: the desk's readings in words, commands given once, buttons that hold what they say."""

import io
import json
import re
import shutil

import matplotlib.image
import pytest
from phone import ANN, BOB, GROUP, Chat

from gridv4_bt.desk import drawn_fills, held, ladder_view, previews
from gridv4_bt.desk.telegram.chat_commands import CHAT_COMMANDS
from gridv4_bt.live.command_files import FOLDER, Action, read_command
from gridv4_bt.report.numbers import number, signed
from gridv4_bt.version import VERSION


def given(folder):
    """Return the commands that lie in a state directory."""
    return sorted((folder / FOLDER).glob("*.json")) if (folder / FOLDER).is_dir() else []


@pytest.fixture
def symbol(traded):
    return traded.data[0].symbol


# --- readings


def test_every_command_that_reads_is_answered(chat):
    for command in CHAT_COMMANDS:
        if command.action is None:
            [said] = chat.say(f"/{command.name}")
            assert "\n" in said or command.name == "version"
            assert not re.search(r"\b(nan|None|Traceback)\b", said)


def test_status_says_both_legs_and_their_net(chat, bot, symbol):
    [said] = chat.say("/status")
    long, short, net = held.leg_rows(bot)
    assert said.startswith("busy: stopped on paper\n")
    assert f"{symbol} LONG: {long['qty']:g} at {long['average']:,.6g}, unrealised {signed(long['unrealized'])}" in said
    assert f"break-even {long['break_even']:,.6g}, stop {long['stop']:,.6g}" in said
    assert f"{long['fills']} fills, {long['entries']} of 4 levels planned" in said
    assert f"{symbol} SHORT: flat" in said and f"{symbol} NET: {net['qty']:g}" in said
    assert short["qty"] == 0.0


def test_profit_says_five_parts_that_are_the_change_of_the_equity(chat, bot):
    [said] = chat.say("/profit")
    found = held.profit(bot)
    for name, words in (
        ("realized_grid", "realised by the grid"), ("fees", "fees"), ("funding", "funding"),
        ("unrealized", "unrealised"), ("total", "total"),
    ):  # fmt: skip
        assert f"\n{words}: {signed(found[name])}" in said
    assert f"from 10,000.00 to {number(found['equity'], 'money')}" in said and "difference" not in said


def test_days_weeks_and_months_sum_the_same_closings(chat, bot):
    [day] = [row for row in held.profit_by(bot, "day") if row["day"] != "open"]
    for word, name in (("daily", "2024-02-18"), ("weekly", "2024-W07"), ("monthly", "2024-02")):
        [said] = chat.say(f"/{word}")
        assert f"\n{name}: {signed(day['total'])}, {day['trades']:.0f} closings\n" in said


def test_weeks_are_those_of_the_calendar(chat, monkeypatch):
    rows = [
        {"day": day, "total": total, "trades": 1.0, "unrealized": 0.0}
        for day, total in (("2023-12-31", 1.0), ("2024-01-01", 2.0), ("2024-01-07", 4.0), ("2024-01-08", 8.0))
    ]
    monkeypatch.setattr(held, "profit_by", lambda bot, by: rows)
    [said] = chat.say("/weekly 2")
    assert said.splitlines()[1:] == ["2024-W02: +8.00, 1 closings", "2024-W01: +6.00, 2 closings"]


def test_orders_say_what_is_open_and_why_levels_have_none(chat, bot):
    [said] = chat.say("/orders")
    for order in ladder_view.open_orders(bot):
        assert f"{order['side']} {order['kind']} " in said
    assert "LONG no order at levels 1 to 4: the bot does not work" in said
    assert "SHORT" not in chat.say("/orders sample long")[0]


def test_fills_are_as_many_as_asked_for_newest_first(chat, bot):
    [said] = chat.say("/fills 3")
    total, rows = drawn_fills.fill_rows(bot, 0, 3)
    assert said.startswith(f"busy: the latest of {total} fills\n") and len(said.splitlines()) == 4
    for row, line in zip(rows, said.splitlines()[1:], strict=True):
        assert f"{row['price']:,.6g}: {row['reason']}" in line


def test_risk_says_what_is_used_of_each_limit(chat, bot, folder):
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("cap_leg = 0.0", "cap_leg = 0.5"))
    [said] = chat.say("/risk")
    row = bot.rows()[-1]
    equity = float(row["equity"])
    # LONG holds 0.027 at 38,988.9; its open orders only close.
    assert f"cap of leg: 1,052.70 of {number(0.5 * equity, 'money')}" in said
    assert f"value at risk {number(float(row['var']), 'money')} of {number(0.05 * equity, 'money')}" in said
    assert f"at {signed(-0.75 * 0.05 * equity)} the worst fill is closed" in said


def test_logs_hold_no_secret(chat, folder):
    with (folder / "events.jsonl").open("a") as file:
        line = {"at": "2024-01-01T00:00:00Z", "kind": "alert", "what": "odd_thing", "text": "apiKey=abcKEY"}
        file.write(json.dumps(line) + "\n")
    [said] = chat.say("/logs 1")
    assert "odd thing: text apiKey=***" in said and "abcKEY" not in said


@pytest.mark.parametrize("word", ["equity", "ladder"])
def test_pictures_are_pictures(chat, word):
    chat.say(f"/{word}")
    picture = matplotlib.image.imread(io.BytesIO(chat.replies[0].picture))
    assert picture.shape == (660, 960, 4) and picture[..., :3].std() > 0.05


def test_help_and_version(chat):
    [said] = chat.say("/help")
    assert all(f"\n/{command.name}" in said for command in CHAT_COMMANDS)
    assert chat.say("/start") == [said] and chat.say("/version") == [f"GridStrategyV4 {VERSION}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/statsu", "/statsu is no command\ndid you mean /status?"),
        ("/xyzzy", "/xyzzy is no command\nsee /help"),
        ("hello", "I understand commands\n/help lists them"),
        ("/fills doge", "/fills [BOT] [N]\n'doge' is no symbol of busy, which trades SAMPLEUSDT"),
    ],
)
def test_what_is_not_understood_is_said(chat, text, said):
    assert chat.say(text) == [said]


def test_in_a_group_only_commands_to_this_bot_are_answered(chat):
    chat.conversation.username = "grid_test_bot"
    assert chat.say("good morning", chat=GROUP, is_private=False) == []
    assert chat.say("/version@other_bot", chat=GROUP, is_private=False) == []
    assert len(chat.say("/version@Grid_Test_Bot", chat=GROUP, is_private=False)) == 1


# --- several bots, and bots that do not work


@pytest.fixture
def two(folder, tmp_path, clock):
    shutil.copytree(folder, folder.parent / "calm")
    return Chat(folder.parent, tmp_path, clock)


def test_of_several_bots_status_and_health_say_all_and_others_ask_which(two, folder):
    assert [said.partition(":")[0] for said in two.say("/status")] == ["busy", "calm"]
    [said] = two.say("/health")
    assert "\nbusy: stopped" in said and "\ncalm: stopped" in said
    assert two.say("/pause") == ["/pause [BOT] [SYMBOL [LEG]]\nname one of the bots after the command: busy, calm"]
    assert two.say("/pause calm")[0].startswith("calm: given: pause account")
    assert not given(folder) and len(given(folder.parent / "calm")) == 1


def make_stale(folder):
    """Let a bot look as if its process had been killed: its record has no end."""
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(line for line in lines if '"stopped"' not in line))


def test_a_stale_bot_is_said_to_be_one_before_anything_else(chat, folder):
    make_stale(folder)
    for text in ("/status", "/profit", "/orders"):
        assert chat.say(text)[0].splitlines()[1] == "STALE: its process is gone without an end"
    assert "busy: STALE: its process is gone without an end, last decision" in chat.say("/health")[0]
    assert "the bot is STALE" in chat.say("/pause")[0]
    assert chat.say("/close sample long")[0].splitlines()[1].startswith("STALE: ")


def test_a_stopped_bot_obeys_at_its_next_start(chat):
    assert chat.say("/pause") == ["busy: given: pause account\nthe bot is stopped: it does this at its next start"]


# --- commands


@pytest.mark.parametrize(
    ("text", "action", "scope"),
    [
        ("/pause", Action.PAUSE, "account"),
        ("/pause sample", Action.PAUSE, "{symbol}"),
        ("/pause busy sample short", Action.PAUSE, "{symbol} SHORT"),
        ("/resume sample long", Action.RESUME, "{symbol} LONG"),
        ("/cancel", Action.CANCEL, "account"),
        ("/takeout sample", Action.TAKE_OUT, "{symbol}"),
        ("/resync", Action.RESYNC, "account"),
    ],
)
def test_a_command_is_a_file_that_the_bot_understands(chat, folder, symbol, text, action, scope):
    chat.say(text, update=4711)
    [path] = given(folder)
    command = read_command(path.read_text(), [symbol])
    assert (command.id, command.action, command.scope) == (
        "telegram-123456789-4711",
        action,
        scope.format(symbol=symbol),
    )
    assert command.by == "telegram 7 Ann" and command.at == "2024-02-20T12:00:00Z"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_update_that_is_delivered_twice_is_one_command(chat, folder):
    first, second = chat.say("/pause", update=1), chat.say("/pause", update=1)
    assert first[0].startswith("busy: given: pause account")
    assert second == ["busy: this was given already\nwaits: it waits for the bot"] and len(given(folder)) == 1


def test_one_that_was_obeyed_is_not_given_again(chat, folder):
    chat.say("/pause", update=1)
    [path] = given(folder)
    answer = json.loads(path.read_text()) | {"state": "done", "text": "paused, 3 entries are cancelled"}
    path.with_name("telegram-123456789-1.answer.json").write_text(json.dumps(answer))
    path.unlink()
    assert chat.say("/pause", update=1) == ["busy: this was given already\ndone: paused, 3 entries are cancelled"]
    assert [one.name for one in given(folder)] == ["telegram-123456789-1.answer.json"]


def test_an_old_command_is_not_given(chat, folder):
    [said] = chat.say("/pause", age_s=181.0)
    assert said.startswith("/pause: not given\ntoo old (3 min): send it again\nif it stays so, ")
    assert "too old (60 min)" in chat.say("/close sample long", age_s=3_600.0)[0] and not chat.replies[0].buttons
    assert not given(folder) and chat.say("/profit", age_s=3_600.0)[0].startswith("busy: profit")


def test_a_stranger_gets_no_answer(chat, folder):
    assert chat.say("/status", chat=BOB, user=BOB) == [] and chat.say("/pause", chat=BOB, user=BOB) == []
    assert not given(folder)


def test_who_may_only_read_may_not_command(folder, tmp_path, clock):
    chat = Chat(folder.parent, tmp_path, clock, readers=frozenset({BOB}))
    assert chat.say("/profit", chat=GROUP, user=BOB)[0].startswith("busy: profit")
    assert chat.say("/pause", chat=GROUP, user=BOB) == ["/pause: not given\nyou may read, not command"]
    chat.say("/close sample long", chat=GROUP)
    assert chat.press(chat=GROUP, user=BOB) == ("you may not command", "")
    assert not given(folder)


# --- closing


def test_closing_says_first_what_it_does_and_costs(chat, bot, symbol, folder):
    [said] = chat.say("/close sample long")
    found = previews.preview(bot, Action.FLATTEN, f"{symbol} LONG")
    [leg] = found["closes"]
    assert said.startswith(f"busy: close {symbol} LONG?\n{symbol} LONG: {leg['qty']:g} of {leg['held']:g} at ")
    assert f"estimated fee {number(found['fee'], 'money')}, realised by it {signed(found['realizes'])}" in said
    assert [words for words, _ in chat.replies[0].buttons] == [f"Yes, close {symbol} LONG", "No"]
    assert not given(folder)


def test_the_button_closes(chat, folder, symbol):
    chat.say("/close sample long", update=50)
    words, text = chat.press()
    assert words == "given" and text.startswith(f"busy: given: close {symbol} LONG")
    [path] = given(folder)
    command = read_command(path.read_text(), [symbol])  # it would refuse one that is not confirmed
    assert (command.id, command.action, command.scope) == ("telegram-123456789-50", Action.FLATTEN, f"{symbol} LONG")


def test_half_of_a_leg_is_closed_as_it_was_said(chat, bot, folder, symbol):
    [said] = chat.say("/close sample long 50%")
    [half] = previews.preview(bot, Action.FLATTEN, f"{symbol} LONG", 0.5)["closes"]
    assert said.startswith(f"busy: close 50% of {symbol} LONG?\n{symbol} LONG: {half['qty']:g} of {half['held']:g} at ")
    assert chat.press()[1].startswith(f"busy: given: close 50% of {symbol} LONG")
    assert read_command(given(folder)[0].read_text(), [symbol]).share == 0.5


def test_a_button_that_is_pressed_twice_closes_once(chat, folder):
    chat.say("/close sample long")
    chat.press()
    assert chat.press() == ("given already", "busy: this was given already\nwaits: it waits for the bot")
    assert len(given(folder)) == 1


def test_a_button_is_valid_for_a_minute(chat, folder, clock, symbol):
    chat.say("/close sample long")
    clock.now += 61.0
    expected = f"busy: close {symbol} LONG: not closed\nconfirmed too late (more than 60 s): send /close again"
    assert chat.press() == ("too late", expected)
    assert chat.press()[0] == "no longer valid: send the command again" and not given(folder)


def test_a_button_is_for_who_has_asked_in_that_chat(chat, folder):
    chat.say("/close sample long", chat=GROUP)
    assert chat.press(chat=GROUP, user=BOB, name="Bob") == ("only Ann may confirm this", "")
    assert chat.press(chat=ANN)[0] == "only Ann may confirm this" and not given(folder)
    assert chat.press(chat=GROUP)[0] == "given"


def test_a_stranger_who_presses_a_button_gets_no_answer(folder, tmp_path, clock):
    chat = Chat(folder.parent, tmp_path, clock, users=frozenset({ANN}))
    chat.say("/close sample long", chat=GROUP)
    assert chat.press(chat=GROUP, user=BOB) is None and chat.press(chat=GROUP)[0] == "given"


def test_no_means_no(chat, folder):
    chat.say("/close sample long")
    assert chat.press(1)[0] == "kept" and not given(folder)
    assert chat.press(0)[0] == "no longer valid: send the command again"


def test_a_button_from_before_a_restart_closes_nothing(chat, folder, tmp_path, clock):
    chat.say("/close sample long")
    after = Chat(folder.parent, tmp_path, clock)
    after.replies = chat.replies
    assert after.press()[0] == "no longer valid: send the command again" and not given(folder)


def test_a_press_that_is_delivered_again_after_a_restart_is_the_same_command(chat, folder, tmp_path, clock):
    chat.say("/close sample long")
    chat.press()
    after = Chat(folder.parent, tmp_path, clock)
    after.replies = chat.replies
    assert after.press()[0] == "given already" and len(given(folder)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/close", "name what to close: a symbol (SAMPLEUSDT), its leg (LONG, SHORT), or account"),
        ("/close doge long", "'doge' is no symbol of busy, which trades SAMPLEUSDT"),
        ("/takeout", "name the symbol, without a leg: SAMPLEUSDT"),
        ("/takeout sample long", "name the symbol, without a leg: SAMPLEUSDT"),
        ("/pause sample 50%", "a share is for /close"),
    ],
)
def test_a_scope_that_is_missing_or_unknown_is_asked_for(chat, folder, text, said):
    assert chat.say(text)[0].endswith(said) and chat.replies[0].buttons == () and not given(folder)


# --- what becomes of a command


def answer(folder, update, state, text):
    path = folder / FOLDER / f"telegram-123456789-{update}.json"
    content = json.loads(path.read_text()) | {"state": state, "text": text}
    path.with_name(f"telegram-123456789-{update}.answer.json").write_text(json.dumps(content))


def news(chat):
    """Return what is told of commands now, and note that it was told."""
    found = []
    for command, state, reply in chat.giving.answered():
        found.append((command["chat"], "\n".join([reply.title, *reply.lines])))
        chat.giving.tell(command, state)
    return found


def test_that_the_bot_has_obeyed_is_said_once(chat, folder, symbol):
    chat.say("/close sample long", update=5)
    chat.press()
    assert news(chat) == []
    answer(folder, 5, "works", "closing SAMPLEUSDT LONG 0.027")
    assert news(chat) == [(ANN, f"busy: close {symbol} LONG: begun\nclosing SAMPLEUSDT LONG 0.027")]
    assert news(chat) == []
    answer(folder, 5, "done", "closed and paused")
    assert news(chat) == [(ANN, f"busy: close {symbol} LONG: done\nclosed and paused")]
    assert news(chat) == [] and chat.memory.given() == []


def test_that_the_bot_has_refused_is_said(chat, folder):
    chat.say("/pause", update=5)
    answer(folder, 5, "refused", "it is another user's")
    assert news(chat) == [(ANN, "busy: pause account: REFUSED\nit is another user's")]


def test_that_a_bot_does_not_obey_is_said_once(chat, clock):
    chat.say("/pause")
    clock.now += 91.0
    assert [text for _, text in news(chat)] == [
        "busy: pause account: NOT taken up yet\nthe bot has not looked for it; see /health"
    ]
    assert news(chat) == []


def test_after_a_restart_the_answer_is_still_told(chat, folder, tmp_path, clock):
    chat.say("/pause", update=5)
    after = Chat(folder.parent, tmp_path, clock)
    answer(folder, 5, "done", "paused, 8 entries are cancelled")
    assert news(after) == [(ANN, "busy: pause account: done\npaused, 8 entries are cancelled")]
