"""A desk that is killed while commands are posted to it: each is given once."""

import json
import shutil

import pytest

pytest.importorskip("fastapi")

from gridv4_bt.desk.desk_process import DeskProcess
from gridv4_bt.live.command_files import FOLDER, Action, Command


def test_every_command_is_given_once_though_the_desk_is_killed(traded, tmp_path):
    shutil.copytree(traded.folder, tmp_path / "busy")
    desk = DeskProcess(seed=2)  # kills it at the second post
    desk.start(tmp_path / "busy")
    given = [Command(f"command-{number}", Action.PAUSE, "account", "a test", "2026") for number in range(4)]
    for command in given:
        desk.post(command)
    desk.drain()
    desk.close()
    assert desk.accepted() == [command.id for command in given]
    assert desk.kills >= 1 and desk.posts >= 4
    files = sorted((tmp_path / "busy" / FOLDER).glob("*.json"))
    assert [json.loads(path.read_text())["id"] for path in files] == [command.id for command in given]
