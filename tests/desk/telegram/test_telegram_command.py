"""`gridv4 telegram` and `gridv4 desk --telegram` as processes."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bot_api import TOKEN

from gridv4_bt.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_DESK = """
import sys
for name in ("fastapi", "uvicorn", "pandas", "matplotlib"):
    sys.modules[name] = None
from gridv4_bt.__main__ import main
main()
"""


@pytest.fixture
def program(tmp_path, bot_api):
    """program(*words) -> a process in an empty folder whose .env names the local server."""
    (tmp_path / ".env").write_text(
        f"GRIDV4_TELEGRAM_TOKEN={TOKEN}\nGRIDV4_TELEGRAM_CHATS=7\nGRIDV4_TELEGRAM_SERVER={bot_api.url}\n"
    )
    (tmp_path / ".env").chmod(0o600)
    started = []

    def start(*words, code=None, **environment):
        command = [sys.executable, *(["-c", code] if code else ["-m", "gridv4_bt"]), *map(str, words)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GRIDV4_")}
        one = subprocess.Popen(
            command, cwd=tmp_path, env=plain | {"PYTHONPATH": str(ROOT)} | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def end(one):
    """Ask a process to end as a supervisor does; return its exit code and what it has written."""
    one.send_signal(signal.SIGTERM)
    out, error = one.communicate(timeout=20)
    return one.returncode, out + error


def test_it_answers_until_it_is_ended_and_needs_no_desk(program, bot_api, folder):
    one = program("telegram", folder, code=WITHOUT_DESK)
    bot_api.say("/status")
    bot_api.wait_for("busy: stopped on paper", seconds=30)
    code, said = end(one)
    assert code == 0 and "Telegram: @grid_test_bot works; allowed chats: 7" in said and TOKEN not in said
    assert (folder.parents[1] / "data" / "desk" / "telegram.json").stat().st_mode & 0o777 == 0o600


def test_ctrl_c_ends_it(program, bot_api, folder):
    one = program("telegram", folder)
    bot_api.until(lambda: range(bot_api.asked["getUpdates"]), seconds=30)
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 0


@pytest.fixture
def refused(tmp_path, bot_api, monkeypatch, capsys):
    """refused(*words, **environment) -> the line with which a command line is refused with exit code 2."""
    monkeypatch.chdir(tmp_path)
    log = logging.getLogger("gridv4.telegram")
    handlers, level = log.handlers[:], log.level

    def call(*words, **environment):
        chosen = {"TOKEN": TOKEN, "CHATS": "7", "SERVER": bot_api.url} | environment
        for name, value in chosen.items():
            monkeypatch.setenv(f"GRIDV4_TELEGRAM_{name}", value)
        monkeypatch.setattr(sys, "argv", ["gridv4", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        assert end.value.code == 2 and written.out == "" and written.err.count("\n") == 1
        return written.err

    yield call
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["telegram", "nowhere"], {}, "error: nowhere: is no folder; name a --state-dir of gridv4 live"),
        (["telegram", "."], {"TOKEN": "1234:no"}, "error: GRIDV4_TELEGRAM_TOKEN: is no token of a bot"),
        (["desk", "--telegram", "."], {"CHATS": "@me"}, "error: GRIDV4_TELEGRAM_CHATS: must be numbers"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(refused, tmp_path, words, environment, said):
    assert refused(*words, **environment).startswith(said) and [*tmp_path.iterdir()] == []


def test_a_token_that_telegram_does_not_know_is_bad_input(refused, folder):
    wrong = TOKEN.replace("AA", "BB")
    expected = "error: GRIDV4_TELEGRAM_TOKEN: Telegram does not know this token; copy it anew from @BotFather\n"
    assert refused("telegram", folder, TOKEN=wrong) == expected


def test_without_the_library_it_says_how_to_get_it(refused, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "telegram", None)
    expected = "error: Telegram needs python-telegram-bot: pip install 'gridstrategy-v4[telegram]'\n"
    assert refused("telegram", folder) == expected


def test_one_that_is_killed_goes_on_where_it_was(program, bot_api, folder):
    one = program("telegram", folder)
    number = bot_api.say("/pause")
    bot_api.wait_for("given: pause account", seconds=30)
    bot_api.until(lambda: [1] * (number + 1 in bot_api.offsets), what="the next question")
    one.kill()
    path = folder / "commands" / f"telegram-123456789-{number}.answer.json"
    path.write_text(json.dumps({"id": path.stem, "state": "done", "text": "paused, 8 entries are cancelled"}))
    program("telegram", folder)
    bot_api.wait_for("busy: pause account: done", seconds=30)
    bot_api.say("/version")
    bot_api.wait_for("GridStrategyV4", seconds=30)
    assert len(bot_api.sent) == 3


def test_beside_the_desk_it_answers_too(program, bot_api, folder):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    one = program("desk", folder, "--telegram", "--port", port)
    bot_api.say("/status")
    bot_api.wait_for("busy: stopped on paper", seconds=30)
    ends = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < ends and one.poll() is None
            time.sleep(0.1)
    code, said = end(one)
    assert code in (0, -signal.SIGTERM) and TOKEN not in said  # uvicorn passes the signal on
    assert (folder.parents[1] / "data" / "desk" / "telegram.json").is_file()
