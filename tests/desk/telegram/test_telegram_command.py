"""`gridv4 telegram` and `gridv4 desk --telegram` as processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bot_api import TOKEN

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
    assert code == 0 and "Telegram: @grid_test_bot answers 1 chats" in said and TOKEN not in said
    assert (folder.parents[1] / "data" / "desk" / "telegram.json").stat().st_mode & 0o777 == 0o600


def test_ctrl_c_ends_it(program, bot_api, folder):
    one = program("telegram", folder)
    bot_api.until(lambda: range(bot_api.asked["getUpdates"]), seconds=30)
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["telegram", "nowhere"], {}, "error: nowhere: is no folder; name a --state-dir of gridv4 live"),
        (["telegram", "."], {"GRIDV4_TELEGRAM_TOKEN": "1234:no"}, "error: GRIDV4_TELEGRAM_TOKEN: is no token of a bot"),
        (
            ["desk", ".", "--telegram"],
            {"GRIDV4_TELEGRAM_CHATS": "@me"},
            "error: GRIDV4_TELEGRAM_CHATS: must be numbers",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(program, tmp_path, words, environment, said):
    before = sorted(tmp_path.rglob("*"))
    one = program(*words, **environment)
    out, error = one.communicate(timeout=30)
    assert one.returncode == 2 and out == "" and error.startswith(said) and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_token_that_telegram_does_not_know_is_bad_input(program, folder):
    wrong = TOKEN.replace("AA", "BB")
    one = program("telegram", folder, GRIDV4_TELEGRAM_TOKEN=wrong)
    out, error = one.communicate(timeout=30)
    assert one.returncode == 2 and wrong not in error
    assert error == "error: GRIDV4_TELEGRAM_TOKEN: Telegram does not know this token; copy it anew from @BotFather\n"


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
