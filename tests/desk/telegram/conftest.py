import logging
import shutil

import pytest

pytest.importorskip("telegram")
pytest.importorskip("aiohttp")

from bot_api import BotApi
from phone import Chat, Clock, Phone


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(traded, tmp_path):
    """A copy of the state directory of a session that has traded and ended."""
    shutil.copytree(traded.folder, tmp_path / "bots" / "busy")
    return tmp_path / "bots" / "busy"


@pytest.fixture
def chat(folder, tmp_path, clock):
    return Chat(folder.parent, tmp_path, clock)


@pytest.fixture
def bot_api():
    with BotApi() as api:
        yield api


@pytest.fixture
def phone(bot_api, folder, tmp_path):
    one = Phone(bot_api, folder.parent, tmp_path / "desk" / "telegram.json")
    yield one
    one.stop()
    for name in ("httpx", "telegram.Bot", "telegram.request.HTTPXRequest"):
        logging.getLogger(name).filters.clear()
