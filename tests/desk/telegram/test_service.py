"""The Telegram bot by the real library at a server that speaks the Bot API, and the server's faults."""

import json
import logging
import threading
import time
import urllib.request

from bot_api import TOKEN, USERNAME
from phone import ANN, BOB, GROUP

from gridv4_bt.desk.telegram.chat_commands import CHAT_COMMANDS
from gridv4_bt.desk.telegram.replies import LONGEST
from gridv4_bt.live.command_files import FOLDER


def given(folder):
    return [*(folder / FOLDER).glob("*.json")] if (folder / FOLDER).is_dir() else []


def alert(folder, text):
    line = {"at": "x", "clock": "x", "kind": "alerted", "title": "GridStrategyV4: margin", "text": text}
    with (folder / "orders.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def settled(api):
    """Wait until the next question for updates: what came before is taken up."""
    asked = len(api.offsets)
    api.until(lambda: api.offsets[asked:], what="the next question")


def test_a_question_is_answered_in_its_chat(phone, bot_api):
    phone.start()
    bot_api.say("/profit", chat=GROUP, kind="group")
    assert bot_api.wait_for("busy: profit").chat == GROUP
    assert [one["command"] for one in bot_api.commands] == [command.name for command in CHAT_COMMANDS]


def test_a_picture_arrives_with_its_words(phone, bot_api):
    phone.start()
    bot_api.say("/equity")
    sent = bot_api.wait_for("busy: equity")
    assert sent.photo.startswith(b"\x89PNG") and "wallet 10,001.23" in sent.text


def test_a_closing_is_confirmed_by_its_button(phone, bot_api, folder):
    phone.start()
    bot_api.say("/close sample long")
    sent = bot_api.wait_for("close SAMPLEUSDT LONG?")
    assert not given(folder)
    bot_api.press(sent)
    bot_api.until(lambda: [1] * sent.edits, what="the message with the button changes")
    assert "given: close SAMPLEUSDT LONG" in sent.text and sent.buttons == [] and bot_api.words == ["given"]
    assert len(given(folder)) == 1


def test_a_message_that_is_too_long_comes_in_pages(phone, bot_api, folder):
    text = "<b>" + 30 * "word "
    with (folder / "events.jsonl").open("a") as file:
        for number in range(100):
            file.write(json.dumps({"at": "x", "kind": "alert", "what": f"fault {number}", "text": text}) + "\n")
    phone.start()
    bot_api.say("/logs 100")
    bot_api.wait_for("fault 0:")  # the oldest is in the last page
    said = bot_api.texts()
    assert len(said) > 3 and all(len(one.text) <= LONGEST for one in bot_api.sent)
    assert sum(one.count("fault ") for one in said) == 100


def test_a_stranger_gets_no_answer_and_is_logged_once(phone, bot_api, folder, caplog):
    with caplog.at_level(logging.WARNING, "gridv4.telegram"):
        phone.start()
        for text in ("/status", "/pause", "/start"):
            bot_api.say(text, chat=BOB, user=BOB)
        bot_api.say("/version")
        bot_api.wait_for("GridStrategyV4")
    assert bot_api.texts(BOB) == [] and not given(folder)
    assert len([one for one in caplog.messages if "user 8 in chat 8 is not allowed" in one]) == 1


def test_a_message_without_text_or_sender_is_passed_over(phone, bot_api):
    phone.start()
    chat = {"id": ANN, "type": "private"}
    bot_api._deliver({"message": {"message_id": 1, "date": int(time.time()), "chat": chat}})
    bot_api._deliver({"message": {"message_id": 2, "date": int(time.time()), "chat": chat, "text": "/pause"}})
    bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4")
    assert len(bot_api.sent) == 1


# --- faults


def test_a_second_program_with_the_token_is_named_and_waited_for(phone, bot_api, caplog, monkeypatch):
    monkeypatch.setattr("gridv4_bt.desk.telegram.line._CONFLICT_S", 0.05)
    line = "Telegram: another program asks with the same token (409): stop one of the two; it is tried again"
    with caplog.at_level(logging.WARNING, "gridv4.telegram"):
        phone.start()
        settled(bot_api)
        with urllib.request.urlopen(f"{bot_api.url}/bot{TOKEN}/getUpdates") as answer:  # ends the question of ours
            assert json.load(answer)["ok"]
        bot_api.until(lambda: [1] * (line in caplog.messages), what="the log")
        bot_api.say("/version")
        bot_api.wait_for("GridStrategyV4")
    bot_api.until(lambda: [1] * ("Telegram answers again" in caplog.messages), what="the log")


def test_one_that_stays_is_named_once(phone, bot_api, caplog, monkeypatch):
    monkeypatch.setattr("gridv4_bt.desk.telegram.line._CONFLICT_S", 0.01)
    bot_api.fail("getUpdates", 409, times=50)
    with caplog.at_level(logging.WARNING, "gridv4.telegram"):
        phone.start()
        bot_api.say("/version")
        bot_api.wait_for("GridStrategyV4")
    assert len([one for one in caplog.messages if "409" in one]) == 1 and bot_api.asked["getUpdates"] > 50


def test_too_many_messages_wait_as_long_as_telegram_says(phone, bot_api):
    phone.start()
    bot_api.fail("sendMessage", 429, retry_after=1)
    began = time.monotonic()
    bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4")
    assert time.monotonic() - began >= 1.0 and bot_api.asked["sendMessage"] == 2


def test_during_that_wait_commands_are_given(phone, bot_api, folder):
    phone.start()
    bot_api.fail("sendMessage", 429, retry_after=2)
    bot_api.say("/version")
    bot_api.say("/pause")
    bot_api.until(lambda: given(folder), seconds=1.5, what="the command")
    assert bot_api.texts() == []


def test_a_lost_answer_to_a_message_sends_it_again_rather_than_never(phone, bot_api, monkeypatch):
    monkeypatch.setattr("gridv4_bt.desk.telegram.service._FIRST_PAUSE_S", 0.05)
    phone.start()
    bot_api.fail("sendMessage", 200, lost=True)
    bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4", count=2)


def test_a_lost_answer_to_a_question_loses_no_command(phone, bot_api, folder, monkeypatch):
    monkeypatch.setattr("gridv4_bt.desk.telegram.service._FIRST_PAUSE_S", 0.05)
    bot_api.fail("getUpdates", 200, lost=True)
    number = bot_api.say("/pause")
    phone.start()
    bot_api.wait_for("given: pause account")
    assert [path.stem for path in given(folder)] == [f"telegram-123456789-{number}"]


def test_an_update_that_is_delivered_again_is_neither_done_nor_answered_again(phone, bot_api, folder):
    phone.start()
    bot_api.say("/pause")
    bot_api.wait_for("given: pause account")
    settled(bot_api)
    message = {"message_id": 1, "date": int(time.time()), "chat": {"id": ANN, "type": "private"}, "text": "/pause"}
    sender = {"id": ANN, "is_bot": False, "first_name": "Ann"}
    bot_api.again = [{"update_id": bot_api.offsets[-1] - 1, "message": message | {"from": sender}}]
    bot_api.until(lambda: [1] * (not bot_api.again), what="it is delivered again")
    settled(bot_api)
    assert len(given(folder)) == 1 and len(bot_api.sent) == 1


def test_a_restart_goes_on_where_it_was(phone, bot_api, folder):
    phone.start()
    number = bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4")
    settled(bot_api)
    phone.stop()
    before = len(bot_api.offsets)
    phone.start()
    assert bot_api.until(lambda: bot_api.offsets[before:], what="the first question")[0] == number + 1
    bot_api.say("/health")
    bot_api.wait_for("health")
    assert len(bot_api.sent) == 2


def test_commands_from_before_the_start_are_answered_but_not_given(phone, bot_api, folder):
    bot_api.say("/pause", age=1_200.0)
    bot_api.say("/close sample long", age=1_200.0)
    phone.start()
    assert "too old (20 min): send it again" in bot_api.wait_for("/close: not given").text
    bot_api.wait_for("/pause: not given")
    assert not given(folder)


def test_an_hour_without_network_ends_nothing_and_keeps_nothing(phone, bot_api, folder, caplog, monkeypatch):
    """An hour in small: the pauses between two tries are a hundredth."""
    monkeypatch.setattr("gridv4_bt.desk.telegram.service._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("gridv4_bt.desk.telegram.service._LONGEST_PAUSE_S", 0.1)
    phone.start()
    bot_api.is_away = True
    tasks = threading.active_count()
    with caplog.at_level(logging.WARNING, "gridv4.telegram"):
        for number in range(20):
            alert(folder, f"ratio 0.{number}")
            time.sleep(0.05)
        bot_api.is_away = False
        bot_api.until(lambda: [one for one in bot_api.texts() if "ratio 0.19" in one], what="the last alert")
    said = "\n".join(bot_api.texts())
    assert all(said.count(f"ratio 0.{number}\n") + said.endswith(f"ratio 0.{number}") >= 1 for number in range(20))
    assert len(bot_api.sent) <= 4 and threading.active_count() == tasks
    assert len([one for one in caplog.messages if "it is tried again" in one]) <= 2  # for asking, and for sending


def test_a_chat_that_has_thrown_the_bot_out_does_not_keep_others_from_being_told(phone, bot_api, folder, caplog):
    phone.start()
    bot_api.fail("sendMessage", 403, description="Forbidden: bot was kicked from the group chat")
    alert(folder, "ratio 0.61")
    assert bot_api.wait_for("ratio 0.61").chat == ANN  # the group, which comes first, refuses
    settled(bot_api)
    assert len(bot_api.sent) == 1
    assert f"chat {GROUP} is not told anything: Forbidden: bot was kicked from the group chat" in caplog.text


def test_what_is_damaged_in_a_bot_is_logged_and_ends_nothing(phone, bot_api, folder, caplog):
    (folder / "state.json").write_text('{"broker": {"books": {"SAMPLEUSDT": 1}}}')
    phone.start()
    bot_api.say("/status")
    bot_api.wait_for("this failed")
    bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4")
    assert "not answered: Traceback" in caplog.text


def test_the_token_is_in_no_log_at_any_level(phone, bot_api, caplog, monkeypatch):
    monkeypatch.setattr("gridv4_bt.desk.telegram.service._FIRST_PAUSE_S", 0.05)
    with caplog.at_level(logging.DEBUG):
        bot_api.fail("getUpdates", 502)
        bot_api.fail("getUpdates", 409)
        bot_api.fail("sendMessage", 200, lost=True)
        monkeypatch.setattr("gridv4_bt.desk.telegram.line._CONFLICT_S", 0.05)
        phone.start()
        for name in ("httpx", "httpcore", "telegram"):
            logging.getLogger(name).setLevel(logging.DEBUG)  # as someone who looks for a fault does
        bot_api.say("/version")
        bot_api.wait_for("GridStrategyV4")
        settled(bot_api)
    assert "HTTP Request: POST" in caplog.text and "/bot***/" in caplog.text
    assert TOKEN not in caplog.text and TOKEN.partition(":")[2] not in caplog.text
    assert f"@{USERNAME}" in caplog.text


def test_a_token_that_is_taken_back_is_said_and_tried_again_and_loses_no_alert(
    phone, bot_api, folder, caplog, monkeypatch
):
    monkeypatch.setattr("gridv4_bt.desk.telegram.line._REFUSED_S", 0.05)
    phone.start()
    settled(bot_api)
    bot_api.fail("getUpdates", 401, times=3)
    bot_api.fail("sendMessage", 401, times=3)
    alert(folder, "ratio 0.61")
    bot_api.wait_for("ratio 0.61", count=2)  # in both chats
    bot_api.until(lambda: [1] * (caplog.text.count("Telegram answers again") == 2), what="the log")
    assert caplog.text.count("Telegram does not know this token") == 2  # asking, and sending


def test_that_every_member_of_a_group_may_command_is_said_at_the_start(phone, bot_api, caplog):
    phone.start(users=frozenset({ANN}))
    phone.stop()
    assert "every member" not in caplog.text
    phone.start()
    assert "every member of the groups -100 may command: GRIDV4_TELEGRAM_USERS would name who may" in caplog.messages


def test_that_nobody_is_allowed_is_said_at_the_start(phone, bot_api, caplog):
    phone.start(chats=frozenset())
    bot_api.say("/status")
    bot_api.until(lambda: [1] * ("GRIDV4_TELEGRAM_CHATS=7 would allow it" in caplog.text), what="the log")
    assert "nobody is allowed yet: write to the bot" in caplog.text and bot_api.sent == []
