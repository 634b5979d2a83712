"""What is told unasked: risk at once; starts and ends, fills and days gathered, and not in quiet hours.

Each notice is read from the bots' records, from where the last one that was told has ended. So none is lost while
Telegram cannot be reached or this program does not run, none is told twice, and nothing is kept in memory meanwhile.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gridv4_bt.desk import bot_overview
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.incident import masked
from gridv4_bt.desk.line_index import LineIndex
from gridv4_bt.desk.telegram.digests import counted, day_digest, day_of, fill_digest
from gridv4_bt.desk.telegram.memory import TelegramMemory
from gridv4_bt.desk.telegram.quiet_hours import QuietHours
from gridv4_bt.desk.telegram.readings import stale_words
from gridv4_bt.desk.telegram.replies import Reply
from gridv4_bt.live.order_log import order_log_files
from gridv4_bt.live.owner_messages import session_message

GATHER_S = 900.0  #: fills are gathered for so long
logger = logging.getLogger("gridv4.telegram")
_STATE_S = 15.0  # between two looks whether a bot is stale
_LINES = 30  # of one notice of risk; /logs has more
_FILLS = 5_000  # of one digest
_SAID = 100  # damages that are logged once each
_PREFIX = "GridStrategyV4: "


@dataclass(frozen=True)
class Notice:
    """A message that nobody has asked for, and what is noted once it is told."""

    reply: Reply
    folder: Path
    told: dict[str, Any]


@dataclass
class _Watched:
    """What is known of one bot between two looks."""

    alerts: LineIndex
    sessions: LineIndex
    looked: float = -1e9  #: at its state
    fills_since: float | None = None  #: when the first fill was seen that is not told yet


class Notices:
    """The notices of all bots.

    Parameters
    ----------
    bots : returns the bots by name.
    now : seconds since the epoch.
    gather : seconds for which fills are gathered.
    """

    def __init__(
        self,
        bots: Callable[[], dict[str, BotFiles]],
        memory: TelegramMemory,
        quiet: QuietHours | None,
        now: Callable[[], float] = time.time,
        gather: float = GATHER_S,
    ) -> None:
        self._bots = bots
        self._memory = memory
        self._quiet = quiet
        self._now = now
        self._gather = gather
        self._watched: dict[Path, _Watched] = {}
        self._has_begun = False
        self._said: set[str] = set()

    def due(self) -> Iterator[Notice]:
        """Yield what is to be told now; `told` is called for each one that was."""
        bots = self._bots()
        for folder in set(self._watched) - {bot.folder for bot in bots.values()}:
            del self._watched[folder]
        is_quiet = self._quiet is not None and self._quiet.hold(datetime.fromtimestamp(self._now(), UTC))
        calm = () if is_quiet else (self._sessions, self._fills, self._day)
        for name, bot in bots.items():
            for part in (self._alerts, self._staleness, *calm):
                try:
                    found = [*part(name, bot)]
                except (KeyError, TypeError, ValueError, IndexError, OSError) as error:  # whatever is in its folder
                    self._say_once(f"{name}: its files cannot be told of: {type(error).__name__}: {error}")
                    continue
                yield from found
        self._has_begun = True

    def told(self, notice: Notice) -> None:
        """Note that a notice was told."""
        self._memory.tell(notice.folder, **notice.told)
        self._memory.save()

    def _watch(self, bot: BotFiles) -> _Watched:
        """Watch a bot: of one that is met at the start the past is not told, unless it was watched before."""
        if (known := self._watched.get(bot.folder)) is not None:
            return known
        found = _Watched(_index(bot, "alerted"), _index(bot, "session"))
        if self._memory.told(bot.folder) is None:
            told = {"alerts": 0, "sessions": 0, "fills": 0}
            if not self._has_begun:
                told = {
                    "alerts": found.alerts.count(), "sessions": found.sessions.count(), "fills": bot.fills.count()
                }  # fmt: skip
            self._memory.tell(bot.folder, day=day_of(bot), stale=False, **told)
            self._memory.save()
        self._watched[bot.folder] = found
        return found

    def _alerts(self, name: str, bot: BotFiles) -> Iterator[Notice]:
        total, new = self._new(bot, "alerts", self._watch(bot).alerts, _LINES)
        if new:
            titles = [str(one["title"]).removeprefix(_PREFIX) for one in new]
            texts = [masked(str(one["text"])) for one in new]
            if total - self._told(bot, "alerts") == 1:
                reply = Reply(f"⚠ {name}: {titles[0]}", texts)
            else:
                count = total - self._told(bot, "alerts")
                lines = [f"{title}: {text}" for title, text in zip(titles, texts, strict=True)]
                reply = Reply(f"⚠ {name}: {count} alerts", lines)
            yield Notice(reply, bot.folder, {"alerts": total})

    def _staleness(self, name: str, bot: BotFiles) -> Iterator[Notice]:
        watched = self._watch(bot)
        if self._now() - watched.looked >= _STATE_S:
            watched.looked = self._now()
            words = stale_words(bot_overview.overview(name, bot))
            if words and not self._told(bot, "stale"):
                yield Notice(Reply(f"⚠ {name}: stale", [words]), bot.folder, {"stale": True})
            elif not words and self._told(bot, "stale"):
                yield Notice(Reply(f"{name}: decides again"), bot.folder, {"stale": False})

    def _sessions(self, name: str, bot: BotFiles) -> Iterator[Notice]:
        total, new = self._new(bot, "sessions", self._watch(bot).sessions, _LINES)
        if new:
            lines = [
                f"{title.removeprefix(_PREFIX)}: {text}"
                for title, text in (session_message(one) for one in new if "place" in one)
            ]
            yield Notice(Reply(name, lines, is_silent=True), bot.folder, {"sessions": total})

    def _fills(self, name: str, bot: BotFiles) -> Iterator[Notice]:
        watched = self._watch(bot)
        count = bot.fills.count()
        if count == self._told(bot, "fills"):
            watched.fills_since = None
            return
        if watched.fills_since is None:
            watched.fills_since = self._now()
        if self._now() - watched.fills_since < self._gather:
            return
        watched.fills_since = None
        total, new = self._new(bot, "fills", bot.fills, _FILLS)
        if new:
            reply = Reply(f"{name}: {counted(len(new))}", fill_digest(new), is_silent=True)
            yield Notice(reply, bot.folder, {"fills": total})

    def _day(self, name: str, bot: BotFiles) -> Iterator[Notice]:
        self._watch(bot)
        today, told = day_of(bot), self._told(bot, "day")
        if today is None:
            return
        if told is None:
            self._memory.tell(bot.folder, day=today)
        elif today > told:
            reply = Reply(f"{name}: digest of the day", day_digest(bot, told, today), is_silent=True)
            yield Notice(reply, bot.folder, {"day": today})

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < _SAID:
            self._said.add(text)
            logger.error("%s", masked(text))

    def _told(self, bot: BotFiles, what: str) -> Any:
        return (self._memory.told(bot.folder) or {}).get(what)

    def _new(self, bot: BotFiles, what: str, index: LineIndex, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many lines there are, and those that are not told yet, oldest first, at most the newest so many.

        A record that is shorter than what was told is another one.
        """
        total, told = index.count(), self._told(bot, what)
        if total < told:
            self._memory.tell(bot.folder, **{what: 0})
            told = 0
        if total == told:
            return total, []
        _, rows = index.page(0, min(total - told, most))
        return total, rows[::-1]


def _index(bot: BotFiles, kind: str) -> LineIndex:
    return LineIndex(lambda: order_log_files(bot.folder), b'"kind": "%s"' % kind.encode())
