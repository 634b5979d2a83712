"""Commands from a chat to a bot: given once, and followed until the bot has obeyed."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gridv4_bt.desk import bot_overview
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.previews import preview
from gridv4_bt.desk.telegram.memory import TelegramMemory
from gridv4_bt.desk.telegram.replies import Asked, Reply
from gridv4_bt.live.command_files import Action, Command, answer_to, write_command
from gridv4_bt.report.numbers import number, signed

_SLOW_S = 90.0  # after which a person is told that the bot has not taken a command up
#: What a command's name is to a person.
_WORDS = {Action.FLATTEN: "close", Action.TAKE_OUT: "take out"}
#: What a bot in a state does with a command, "" for one that works.
_LATER = {
    "running": "", "halted": "",
    "stopped": "the bot is stopped: it does this at its next start",
    "stale": "the bot is STALE, its last decision is too old: it does this once it works again. In need act at the "
             "exchange",
    "starting": "the bot is starting: it does this after its first candle",
}  # fmt: skip


def id_of(telegram_bot: str, update: int) -> str:
    """Return the id of the command that an update gives: an update that is delivered again is the same command."""
    return f"telegram-{telegram_bot}-{update}"


def words_of(action: Action, scope: str, share: float = 1.0) -> str:
    """Return a command as a person says it."""
    part = "" if share == 1.0 else f"{share:.0%} of "
    return f"{_WORDS.get(action, action.value)} {part}{scope}"


def closing_lines(bot: BotFiles, scope: str, share: float) -> list[str]:
    """Return what closing a scope at market would do and cost, by the desk's preview."""
    found = preview(bot, Action.FLATTEN, scope, share)
    lines = [
        f"{one['symbol']} {one['side']}: {one['qty']:g} of {one['held']:g} at {one['average']:,.6g}, now worth "
        f"{number(one['exposure'], 'money')}, unrealised {signed(one['unrealized'])}"
        for one in found["closes"]
    ]
    lines.append(
        f"estimated fee {number(found['fee'], 'money')}, realised by it {signed(found['realizes'])}; at market, so the "
        "price may differ"
        if lines
        else "nothing is held there: it would only pause"
    )
    return [*lines, f"{found['entries_cancelled']} entries are cancelled, and {scope} is paused until it is resumed"]


class Giving:
    """The commands that are given from Telegram.

    Parameters
    ----------
    telegram_bot : Telegram's number of the bot.
    now : seconds since the epoch.
    """

    def __init__(self, memory: TelegramMemory, telegram_bot: str, now: Callable[[], float] = time.time) -> None:
        self._memory = memory
        self._telegram_bot = telegram_bot
        self._now = now

    def before(self, bots: dict[str, BotFiles], update: int) -> Reply | None:
        """Return the reply to an update that has given a command already, None for another one."""
        for name, bot in bots.items():
            found = answer_to(bot.folder, id_of(self._telegram_bot, update))
            if found is not None:
                text = found.get("text") or "it waits for the bot"
                return Reply(f"{name}: this was given already", [f"{found.get('state')}: {text}"])
        return None

    def give(
        self, asked: Asked, update: int, name: str, bot: BotFiles, action: Action, scope: str, share: float = 1.0
    ) -> Reply:
        """Give a command, and return what to say.

        Parameters
        ----------
        update : number of the update that it is made of; of a confirmed one that of the first message.
        share : of what is closed.
        """
        command_id = id_of(self._telegram_bot, update)
        what = words_of(action, scope, share)
        by = f"telegram {asked.user} {asked.name}"[:80]
        at = f"{datetime.fromtimestamp(self._now(), UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            write_command(bot.folder, Command(command_id, action, scope, by, at, share), scope)
        except OSError as error:
            return Reply(f"{name}: NOT given: {what}", [f"its folder cannot be written: {error.strerror}"])
        self._memory.wait_for(
            {
                "id": command_id,
                "folder": str(bot.folder),
                "bot": name,
                "chat": asked.chat,
                "what": what,
                "state": "waits",
            }
        )
        later = _LATER[bot_overview.overview(name, bot)["state"]]
        return Reply(f"{name}: given: {what}", [later or "the bot looks every 20 seconds; I say when it has obeyed"])

    def answered(self) -> Iterator[tuple[dict[str, Any], str, Reply]]:
        """Yield each command of which there is news, its new state, and what to say of it."""
        for one in list(self._memory.given()):
            found = answer_to(Path(one["folder"]), one["id"]) or {}
            state = str(found.get("state", "gone"))
            title = f"{one['bot']}: {one['what']}"
            if state in ("done", "works", "refused") and state != one["state"]:
                word = {"done": "done", "works": "begun", "refused": "REFUSED"}[state]
                yield one, state, Reply(f"{title}: {word}", [str(found.get("text", ""))])
            elif state == "gone" and one["state"] not in ("works", "slow"):
                yield one, state, Reply(f"{title}: gone", ["its file is gone without an answer; look at /status"])
            elif state == "waits" and one["state"] == "waits" and self._now() - one["at"] > _SLOW_S:
                yield one, "slow", Reply(f"{title}: NOT taken up yet", ["the bot has not looked for it; see /health"])

    def tell(self, command: dict[str, Any], state: str) -> None:
        """Note that a command's new state was told."""
        command["state"] = state
        if state in ("done", "refused", "gone"):
            self._memory.forget(command)
        self._memory.save()
