"""Persons and a Telegram bot of ours: with the local server between them, and without."""

import threading
from datetime import UTC, datetime

from bot_api import TOKEN

from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.telegram.conversation import Conversation
from gridv4_bt.desk.telegram.giving import Giving
from gridv4_bt.desk.telegram.memory import TelegramMemory
from gridv4_bt.desk.telegram.replies import Asked
from gridv4_bt.desk.telegram.rights import Rights
from gridv4_bt.desk.telegram.service import Service, in_background
from gridv4_bt.desk.telegram.telegram_settings import TelegramSettings

ANN, BOB, GROUP = 7, 8, -100


class Clock:
    """Seconds since the epoch that a test sets."""

    def __init__(self, text="2024-02-20T12:00:00"):
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def __call__(self):
        return self.now


def settings(server="https://api.telegram.org", **more):
    more = {"chats": frozenset({ANN, GROUP})} | more
    return TelegramSettings(TOKEN, server=server, **more)


class Chat:
    """A conversation without Telegram: what a person sends, and what is answered."""

    def __init__(self, place, tmp_path, clock, **more):
        self.bots = StateDirs([place])
        self.memory = TelegramMemory(tmp_path / "desk" / "telegram.json", "123456789", clock)
        self.giving = Giving(self.memory, "123456789", clock)
        self.conversation = Conversation(self.bots.bots, Rights(settings(**more)), self.giving, now=clock)
        self.updates = 0

    def say(self, text, chat=ANN, user=ANN, name="Ann", update=None, **more):
        """Return the answers, each as one text."""
        self.updates += 1
        asked = Asked(update or self.updates, chat, user, name, text, **more)
        self.replies = self.conversation.answer(asked)
        return ["\n".join([one.title, *one.lines]) for one in self.replies]

    def press(self, place=0, chat=ANN, user=ANN, name="Ann"):
        """Press a button of the latest answer; return the words and the text that its message becomes, or None."""
        self.updates += 1
        data = self.replies[-1].buttons[place][1]
        pressed = self.conversation.press(Asked(self.updates, chat, user, name, data, button="q", message=1))
        if pressed is None:
            return None
        becomes = pressed.becomes
        return pressed.words, "\n".join([becomes.title, *becomes.lines]) if becomes else ""


class Phone:
    """A Telegram bot of ours at work at the local server; `stop` and `start` are a restart."""

    def __init__(self, api, place, memory):
        self.api, self.place, self.memory = api, place, memory
        self.end = threading.Event()
        self.thread = None

    def start(self, **more):
        timing = {"look": 0.05, "poll": 1.0, "gather": 0.3} | {
            name: more.pop(name) for name in ("look", "poll", "gather", "now") if name in more
        }
        service = Service(StateDirs([self.place]), settings(self.api.url, **more), self.memory, **timing)
        begun = threading.Event()
        asked = self.api.asked["getUpdates"]

        def work():
            with in_background(service):
                begun.set()
                self.end.wait()

        self.end.clear()
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        self.api.until(lambda: range(self.api.asked["getUpdates"] - asked), what="the first question")
        return self

    def stop(self):
        if self.thread is not None:
            self.end.set()
            self.thread.join(10)
            assert not self.thread.is_alive()
            self.thread = None
