"""A bot that trades on paper, steered from a phone: what is asked there happens at the exchange."""

import pytest
from bot_api import BotApi
from live_market import Market, events, rows
from phone import Phone

from gridv4_bt.exchange.server import ServerThread


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a person and a bot have said to each other while it traded, and the bot's market."""
    place = tmp_path_factory.mktemp("obeyed")
    (place / "bots").mkdir()
    market = Market(place / "bots" / "busy", bars=9, first=4_572)  # SHORT is held soon
    said = []

    with BotApi() as api, ServerThread(market.api) as server, market.session(server.url) as session:
        phone = Phone(api, place / "bots", place / "telegram.json").start()

        def ask(text, answer, button=False):
            api.say(text)
            sent = api.wait_for(answer, 20.0)
            said.append((text, sent.text))
            if button:
                api.press(sent)
                api.until(lambda: [1] * sent.edits, what="the button is taken")
                said.append(("(button)", sent.text))

        def on_bar(symbol):
            if session.bars == 4:
                ask("/status", "running")
                ask("/pause sample long", "given: pause SAMPLEUSDT LONG")
            if session.bars == 5:
                api.wait_for("pause SAMPLEUSDT LONG: done", 20.0)
                ask("/close sample short", "close SAMPLEUSDT SHORT?", button=True)
            if session.bars == 7:
                api.wait_for("close SAMPLEUSDT SHORT: done", 20.0)
                ask("/resume", "given: resume account")
            if session.bars == 8:
                api.wait_for("resume account: done", 20.0)

        session._on_bar = on_bar
        session.run()
        texts = api.texts(7)
        phone.stop()
    return texts, market, said


def test_a_command_from_the_phone_is_journaled_as_the_desk_s_and_obeyed(told):
    _, market, _ = told
    done = [one for one in events(market, "command") if "action" in one]
    assert [(one["action"], one["scope"]) for one in done] == [
        ("pause", "SAMPLEUSDT LONG"), ("flatten", "SAMPLEUSDT SHORT"), ("resume", "account"),
    ]  # fmt: skip
    assert {one["by"] for one in done} == {"telegram 7 Ann"}
    assert all(one["id"].startswith("telegram-123456789-") for one in done)


def test_the_phone_says_when_the_bot_has_obeyed(told):
    texts, _, _ = told
    [paused] = [text for text in texts if text.startswith("busy: pause SAMPLEUSDT LONG: done")]
    assert "paused, 4 entries are cancelled; exits and stops stay (at the close)" in paused
    assert len([text for text in texts if text.startswith("busy: close SAMPLEUSDT SHORT: done")]) == 1
    assert len([text for text in texts if text.startswith("busy: resume account: done")]) == 1


def test_the_exchange_has_closed_what_was_asked_and_nothing_else(told):
    """What is said before the button is what is sold: size and fee."""
    _, market, said = told
    [asked] = [text for words, text in said if words == "/close sample short"]
    closed = [row for row in rows(market.folder / "trades.csv") if row["label"] == "manual"]
    assert closed and {row["side"] for row in closed} == {"SHORT"}
    assert f"SAMPLEUSDT SHORT: {sum(float(row['qty']) for row in closed):g} of " in asked


def test_a_paused_leg_has_no_entries_until_it_is_resumed(told):
    _, market, _ = told
    pause, resume = (one["clock"] for one in events(market, "command") if one.get("action") in ("pause", "resume"))
    entries = {
        kind: [one["clock"] for one in events(market, kind) if one["id"].split(".")[2].startswith("EL")]
        for kind in ("order", "cancel")
    }
    assert entries["cancel"].count(pause) == 4
    assert not [clock for clock in entries["order"] if pause <= clock < resume]
    assert [clock for clock in entries["order"] if clock >= resume]


def test_all_is_told_once(told):
    texts, _, _ = told
    assert len(texts) == len(set(texts))
