"""What is told unasked, from the records of bots that go on trading."""

import json
import shutil

import pytest
from phone import Clock

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.telegram.memory import TelegramMemory
from gridv4_bt.desk.telegram.notices import Notices
from gridv4_bt.desk.telegram.quiet_hours import read_quiet_hours

FILL = {"symbol": "SAMPLEUSDT", "side": "LONG", "buy": True, "qty": 0.01, "price": 39_000.0, "fee": 0.08}


class Told:
    """The notices of a Telegram bot that looks when it is asked to."""

    def __init__(self, place, memory, clock, quiet=""):
        self.clock, self.folder = clock, place / "busy"
        self.memory = TelegramMemory(memory, "123456789", clock)
        self.notices = Notices(StateDirs([place]).bots, self.memory, read_quiet_hours(quiet), clock)

    def look(self, seconds=0.0):
        """Look after some seconds; return the texts that are told."""
        self.clock.now += seconds
        found = []
        for notice in self.notices.due():
            found.append("\n".join([notice.reply.title, *notice.reply.lines]))
            self.notices.told(notice)
        return found

    def write(self, kind, count=1, **fields):
        """Let the bot record an event, so many times."""
        line = json.dumps({"at": "2024-02-20T12:00:00Z", "kind": kind, "clock": "2024-02-20T12:00:00Z"} | fields)
        with (self.folder / "orders.jsonl").open("a") as file:
            file.write(f"{line}\n" * count)

    def alert(self, what, text):
        self.write("alerted", title=f"GridStrategyV4: {what}", text=text)

    def bar(self, time, equity):
        """Let the bot decide a bar: the row before with another time and equity."""
        row = (self.folder / "equity.csv").read_text().splitlines()[-1].split(",")
        with (self.folder / "equity.csv").open("a") as file:
            file.write(",".join([time, str(equity), *row[2:]]) + "\n")


@pytest.fixture
def made(folder, tmp_path, clock):
    """made(quiet) -> the notices, after a first look."""

    def make(quiet=""):
        one = Told(folder.parent, tmp_path / "telegram.json", clock, quiet)
        one.past = one.look()
        return one

    return make


def test_of_a_bot_that_is_met_at_the_start_the_past_is_not_told(made):
    one = made()
    assert one.past == [] and one.look(10_000.0) == []


def test_of_a_bot_that_comes_later_all_is_told(made, folder):
    one = made()
    shutil.copytree(folder, folder.parent / "late")
    said = one.look()
    assert [text.splitlines()[0] for text in said] == ["late"]  # its start and its end; its fills are gathered
    assert "started: begins on paper with SAMPLEUSDT, wallet 10,000.00" in said[0] and "stopped: on paper" in said[0]
    assert one.look(900.0)[0].startswith("late: 17 fills\n")


def test_one_liquidation_warning_is_one_message_at_once(made):
    one = made()
    one.alert("liquidation near", "distance 8.1%")
    assert one.look(2.0) == ["⚠ busy: liquidation near\ndistance 8.1%"]
    assert one.look(10_000.0) == []


def test_alerts_that_come_together_are_one_message(made):
    one = made()
    for number in range(3):
        one.alert(f"desync {number}", "trade late")
    assert one.look() == ["⚠ busy: 3 alerts\ndesync 0: trade late\ndesync 1: trade late\ndesync 2: trade late"]


def test_after_a_long_absence_the_alerts_are_counted_and_the_latest_are_named(made):
    one = made()
    for number in range(500):
        one.alert(f"desync {number}", "trade late")
    [said] = one.look()
    assert said.startswith("⚠ busy: 500 alerts\n") and len(said.splitlines()) == 31
    assert said.endswith("desync 499: trade late")


def test_what_looks_like_a_secret_is_masked(made):
    one = made()
    one.alert("halted", "apiKey=abcKEY refused")
    assert one.look() == ["⚠ busy: halted\napiKey=*** refused"]


def test_500_fills_in_an_hour_are_four_digests(made):
    one = made()
    said = []
    for _ in range(100):  # five fills each 36 seconds
        one.write("fill", 5, **FILL)
        said += one.look(36.0)
    said += one.look(900.0)
    assert len(said) == 4
    counts = [int(text.split()[1]) for text in said]
    assert sum(counts) == 500
    assert said[0].splitlines()[1].startswith(f"SAMPLEUSDT LONG: bought {counts[0] * 0.01:g} in {counts[0]} fills, ")


def test_few_fills_are_named_one_by_one(made):
    one = made()
    one.write("fill", **FILL)
    assert one.look() == [] and one.look(899.0) == []
    assert one.look(1.0) == ["busy: 1 fill\nSAMPLEUSDT LONG: bought 0.01 at 39,000\nfees 0.08"]


def test_a_digest_of_many_fills_has_sums_and_averages_of_each_leg(made):
    one = made()
    one.write("fill", 6, **FILL)
    one.write("fill", 3, **FILL | {"price": 39_300.0})
    one.write("fill", **FILL | {"side": "SHORT", "buy": False, "qty": 0.02})
    one.look()
    assert one.look(900.0) == [
        "busy: 10 fills\n"
        "SAMPLEUSDT LONG: bought 0.09 in 9 fills, on average at 39,100\n"  # (6 * 39,000 + 3 * 39,300) / 9
        "SAMPLEUSDT SHORT: sold 0.02 in 1 fill, on average at 39,000\n"
        "fees 0.8"
    ]


def test_a_start_is_told_at_once(made):
    one = made()
    one.write("session", place="binance", symbols=["BTCUSDT"], wallet=2_000.0, resumed=True)
    assert one.look() == ["busy\nstarted: goes on on binance with BTCUSDT, wallet 2,000.00"]


def test_in_quiet_hours_risk_is_told_and_the_rest_waits(made):
    one = made("12:00-13:00")
    one.write("fill", 20, **FILL)
    one.write("session", place="paper", stopped=True, bars=4)
    one.alert("margin", "ratio 0.61")
    assert one.look(60.0) == ["⚠ busy: margin\nratio 0.61"]
    assert one.look(3_530.0) == []  # 12:59:50
    assert one.look(20.0) == ["busy\nstopped: on paper after 4 bars"]
    assert one.look(900.0)[0].startswith("busy: 20 fills\n")


def test_what_makes_no_sound_is_not_risk(made):
    one = made()
    one.alert("margin", "ratio 0.61")
    one.write("session", place="paper", stopped=True, bars=4)
    assert [notice.reply.is_silent for notice in one.notices.due()] == [False, True]


def test_a_day_has_one_digest_from_its_second_bar_on(made):
    one = made()
    times, equity = one.notices._bots()["busy"].curve()
    assert times[-1] // DAY_MS * DAY_MS == 1_708_214_400_000  # 2024-02-18
    one.bar("2024-02-18T23:45:00Z", 10_010.0)
    one.bar("2024-02-19T00:00:00Z", 10_020.0)
    assert one.look() == []  # the audit of the day is carried out now
    one.bar("2024-02-19T00:15:00Z", 10_025.0)
    [said] = one.look()
    assert said.startswith("busy: digest of the day\n2024-02-18: equity 10,010.00, +10.00 (+0.10 %)\n   7 closings: ")
    assert "now SAMPLEUSDT LONG 0.027 at 39,278.6, unrealised " in said
    assert one.look() == []


def test_what_was_paid_in_is_no_change_of_the_day(made, folder):
    one = made()
    one.bar("2024-02-19T00:00:00Z", 10_010.0)
    one.bar("2024-02-19T12:00:00Z", 10_510.0)
    one.write("alert", what="wallet_differs", difference=500.0, clock="2024-02-19T12:15:00Z")
    state = json.loads((folder / "state.json").read_text())
    state["broker"]["account"]["start"] += 500.0
    (folder / "state.json").write_text(json.dumps(state))
    one.bar("2024-02-20T00:00:00Z", 10_520.0)
    one.bar("2024-02-20T00:15:00Z", 10_520.0)
    [said] = [text for text in one.look() if "digest" in text]
    # From 9,993.41 at the end of the 18th to 10,510.00 with 500.00 paid in.
    assert "2024-02-19: equity 10,510.00, +16.59 (+0.17 %)" in said


def test_days_without_telegram_are_in_the_next_digest(made):
    one = made()
    for day, equity in (("19", 10_010.0), ("20", 10_020.0), ("21", 10_030.0)):
        one.bar(f"2024-02-{day}T00:00:00Z", equity)
        one.bar(f"2024-02-{day}T00:15:00Z", equity + 5.0)
    [said] = one.look()
    days = [line for line in said.splitlines() if line.startswith("2024-")]
    # From the equity at the end of the day before: 10,025 is 10 more than 10,015.
    assert days[1:] == [
        "2024-02-19: equity 10,015.00, +21.59 (+0.22 %)",
        "2024-02-20: equity 10,025.00, +10.00 (+0.10 %)",
    ]


def test_a_bot_that_turns_stale_and_works_again_is_told(made, folder):
    one = made()
    lines = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(lines.replace('"stopped": true', '"stopped": 0'))
    [said] = one.look(15.0)
    assert said == "⚠ busy: stale\nSTALE: its process is gone without an end"
    assert one.look(600.0) == []
    (folder / "events.jsonl").write_text(lines)
    assert one.look(15.0) == ["busy: decides again"]


def test_a_restart_tells_nothing_twice_and_loses_nothing(made):
    one = made()
    one.alert("margin", "ratio 0.61")
    one.write("fill", **FILL)
    one.look()
    one.alert("margin", "ratio 0.72")  # while nobody looks
    after = made()
    assert after.past == ["⚠ busy: margin\nratio 0.72"]
    assert [text.splitlines()[0] for text in after.look(900.0)] == ["busy: 1 fill"]


def test_a_bot_whose_files_are_damaged_keeps_no_other_from_being_told(made, folder, caplog):
    shutil.copytree(folder, folder.parent / "a")
    (folder.parent / "a" / "state.json").write_text('{"broker": {"books": {"SAMPLEUSDT": 1}}}')
    one = made()
    one.alert("margin", "ratio 0.61")
    one.folder = folder.parent / "a"
    one.alert("margin", "ratio 0.62")
    assert one.look() == ["⚠ a: margin\nratio 0.62", "⚠ busy: margin\nratio 0.61"]
    one.look(60.0)
    assert len([line for line in caplog.messages if line.startswith("a: its files cannot be told of: Type")]) == 1


def test_what_was_not_told_is_due_again(made):
    one = made()
    one.alert("margin", "ratio 0.61")
    assert len([*one.notices.due()]) == 1 and len([*one.notices.due()]) == 1


def test_the_record_of_another_bot_is_told_from_its_beginning(made, folder):
    one = made()
    (folder / "orders.jsonl").write_text("")
    one.alert("margin", "ratio 0.61")
    assert one.look() == ["⚠ busy: margin\nratio 0.61"]


def test_the_memory_is_private_and_a_damaged_one_is_set_aside(tmp_path, caplog):
    path = tmp_path / "desk" / "telegram.json"
    memory = TelegramMemory(path, "1", Clock())
    memory.take_up(41)
    assert path.stat().st_mode & 0o777 == 0o600 and TelegramMemory(path, "1", Clock()).offset() == 42
    assert TelegramMemory(path, "2", Clock()).offset() is None  # of another Telegram bot
    path.write_text("{")
    assert TelegramMemory(path, "1", Clock()).offset() is None
    assert path.with_suffix(".damaged").read_text() == "{" and "is damaged and set aside" in caplog.text


def test_after_a_week_telegram_may_have_numbered_the_updates_anew(tmp_path, clock):
    memory = TelegramMemory(tmp_path / "telegram.json", "1", clock)
    memory.take_up(41)
    clock.now += 5 * 86_400.0
    assert memory.offset() == 42
    clock.now += 86_400.0
    assert memory.offset() is None and memory.is_taken_up(41)


def test_the_memory_does_not_grow_without_end(tmp_path, clock):
    memory = TelegramMemory(tmp_path / "telegram.json", "1", clock)
    for number in range(300):
        memory.take_up(number)
        memory.wait_for(
            {"id": f"telegram-1-{number}", "folder": "x", "bot": "x", "chat": 1, "what": "", "state": "waits"}
        )
    assert len(memory.given()) == 200 and (tmp_path / "telegram.json").stat().st_size < 40_000
