"""Who is allowed, and when it is quiet, from the environment or .env."""

import logging
from datetime import UTC, datetime

import pytest
from bot_api import TOKEN
from phone import ANN, BOB, GROUP, settings

from gridv4_bt.desk.access import COMMANDS, READS
from gridv4_bt.desk.telegram.quiet_hours import read_quiet_hours
from gridv4_bt.desk.telegram.rights import Rights
from gridv4_bt.desk.telegram.telegram_settings import VARIABLES, read_telegram_settings
from gridv4_bt.errors import ConfigError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_they_come_from_the_environment_and_from_the_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text(f"GRIDV4_TELEGRAM_TOKEN={TOKEN}\nGRIDV4_TELEGRAM_CHATS=1\n")
    (tmp_path / ".env").chmod(0o600)
    monkeypatch.setenv("GRIDV4_TELEGRAM_CHATS", "7, -100")
    monkeypatch.setenv("GRIDV4_TELEGRAM_USERS", "7 8")
    found = read_telegram_settings(tmp_path)
    assert (found.token, found.chats, found.users) == (TOKEN, {7, -100}, {7, 8})
    assert found.server == "https://api.telegram.org" and found.quiet is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TOKEN", "", "is not set: write /newbot"),
        ("TOKEN", "AAtheSecret", "is no token of a bot"),
        ("CHATS", "@ann", "must be numbers"),
        ("QUIET", "at night", "are no quiet hours"),
        ("QUIET", "25:00-07:00", "are no quiet hours"),
        ("QUIET", "22:00-07:00 Mars/Base", "are no quiet hours"),
        ("SERVER", "example.org", "must begin with http"),
    ],
)
def test_a_bad_one_is_named_and_no_secret_is(tmp_path, monkeypatch, name, value, said):
    monkeypatch.setenv("GRIDV4_TELEGRAM_TOKEN", TOKEN)
    monkeypatch.setenv(f"GRIDV4_TELEGRAM_{name}", value)
    with pytest.raises(ConfigError, match=said) as error:
        read_telegram_settings(tmp_path)
    assert f"GRIDV4_TELEGRAM_{name}" in str(error.value)
    assert TOKEN not in str(error.value) and "AAtheSecret" not in str(error.value)


def test_the_token_is_in_no_text_of_the_settings():
    one = settings()
    assert TOKEN not in repr(one) and TOKEN not in str(one)
    assert one.masked(f"POST https://api.telegram.org/bot{TOKEN}/getMe") == "POST https://api.telegram.org/bot***/getMe"


@pytest.mark.parametrize(
    ("more", "chat", "user", "role"),
    [
        ({}, ANN, ANN, COMMANDS),
        ({}, GROUP, BOB, COMMANDS),  # every member of a group, unless users are named
        ({}, BOB, BOB, None),
        ({"users": frozenset({ANN})}, GROUP, BOB, None),
        ({"users": frozenset({ANN})}, GROUP, ANN, COMMANDS),
        ({"users": frozenset({BOB})}, BOB, BOB, None),  # a user who is named, in a chat that is not
        ({"readers": frozenset({BOB})}, GROUP, BOB, READS),
        ({"readers": frozenset({BOB})}, GROUP, ANN, COMMANDS),
        ({"users": frozenset({ANN}), "readers": frozenset({BOB})}, GROUP, 9, None),
        ({"chats": frozenset()}, ANN, ANN, None),
    ],
)
def test_who_may_what(more, chat, user, role):
    assert Rights(settings(**more)).role(chat, user) == role


def test_a_stranger_is_logged_once_with_what_would_allow_it(caplog):
    rights = Rights(settings(users=frozenset({ANN})))
    with caplog.at_level(logging.WARNING, "gridv4.telegram"):
        for _ in range(3):
            assert rights.role(BOB, BOB) is None
        assert rights.role(GROUP, BOB) is None
    assert [one.getMessage().partition("(")[2] for one in caplog.records] == [
        "GRIDV4_TELEGRAM_CHATS=8 would allow it)", "GRIDV4_TELEGRAM_USERS=8 would allow it)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "time", "is_quiet"),
    [
        ("22:00-07:00", "21:59", False), ("22:00-07:00", "22:00", True), ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False), ("13:00-14:00", "13:30", True), ("13:00-14:00", "14:00", False),
        ("22:00-07:00 Europe/Berlin", "21:30", True),  # 22:30 there, in winter
        ("22:00-07:00 Europe/Berlin", "06:30", False),
    ],
)  # fmt: skip
def test_quiet_hours_go_over_midnight_and_know_their_zone(text, time, is_quiet):
    moment = datetime.fromisoformat(f"2024-02-20T{time}").replace(tzinfo=UTC)
    assert read_quiet_hours(text).hold(moment) == is_quiet
