"""The Telegram bot at work: it asks Telegram what persons have sent, answers, and tells what there is to tell."""

import asyncio
import logging
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.telegram.conversation import Conversation
from gridv4_bt.desk.telegram.giving import Giving
from gridv4_bt.desk.telegram.line import Declined, Line, Waits
from gridv4_bt.desk.telegram.memory import TelegramMemory
from gridv4_bt.desk.telegram.notices import GATHER_S, Notices
from gridv4_bt.desk.telegram.replies import Asked, Reply, pages
from gridv4_bt.desk.telegram.rights import Rights
from gridv4_bt.desk.telegram.telegram_settings import CHATS, TelegramSettings
from gridv4_bt.errors import GridV4Error

logger = logging.getLogger("gridv4.telegram")
MEMORY = "telegram.json"  #: name of the file of what was told
_LOOK_S = 2.0  # between two looks at the bots' files
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # between two tries while Telegram does not answer
_DECLINED_S = 60.0  # before a question for updates is tried again that was declined
_OUTBOX = 200  # answers that wait to be sent
_JOIN_S = 5.0
T = TypeVar("T")


class Service:
    """One Telegram bot over some bots.

    Parameters
    ----------
    memory : file of what was told.
    look : seconds between two looks at the bots' files.
    poll : seconds for which Telegram keeps a question for updates open.
    gather : seconds for which fills are gathered.
    now : seconds since the epoch.
    """

    def __init__(
        self,
        bots: StateDirs,
        settings: TelegramSettings,
        memory: Path,
        look: float = _LOOK_S,
        poll: float = 25.0,
        gather: float = GATHER_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._line = Line(settings, poll)
        self._settings = settings
        self._look = look
        self._memory = TelegramMemory(memory, settings.bot, now)
        self._giving = Giving(self._memory, settings.bot, now)
        self._notices = Notices(bots.bots, self._memory, settings.quiet, now, gather)
        self._conversation = Conversation(bots.bots, Rights(settings), self._giving, now=now)
        self._outbox: deque[Callable[[], Awaitable[None]]] = deque(maxlen=_OUTBOX)
        self._has_mail = asyncio.Event()
        self._silent_until = 0.0  # of the loop's clock: Telegram wants no messages before
        self._lost: set[str] = set()  # what does not work at the moment
        self._said: set[str] = set()  # what was logged once

    async def run(self) -> None:
        """Work until cancelled.

        Raises
        ------
        ConfigError
            Telegram does not know the token.
        """
        try:
            username = await self._patiently("asking", self._line.open)
            self._conversation.username = username
            logger.info("Telegram: @%s answers %d chats", username, len(self._settings.chats))
            if not self._settings.chats:
                logger.warning("nobody is allowed yet: write to the bot, and this log says which %s to set", CHATS)
            await asyncio.gather(self._listen(), self._send_answers(), self._tell_news())
        finally:
            await self._line.close()

    async def _listen(self) -> None:
        """Take up what persons send."""
        while True:
            try:
                found = await self._patiently("asking", lambda: self._line.updates(self._memory.offset()))
            except Declined as error:
                self._say_once(str(error))
                await asyncio.sleep(_DECLINED_S)
                continue
            for asked in found:
                if not self._memory.is_taken_up(asked.update):
                    self._take_up(asked)
                self._memory.take_up(asked.update)

    def _take_up(self, asked: Asked) -> None:
        """Do what a person asks, and put the answer into the outbox: Telegram may be slow to take it."""
        try:
            if asked.button:
                if (pressed := self._conversation.press(asked)) is None:
                    return
                self._post(lambda: self._line.answer_press(asked, pressed))
                if (becomes := pressed.becomes) is not None:
                    self._post(lambda: self._line.replace(asked, becomes))
                return
            for reply in self._conversation.answer(asked):
                self._post(lambda reply=reply: self._deliver(asked.chat, reply))  # type: ignore[misc]
        except Exception:  # whatever is in a bot's files must not end the service
            logger.error("not answered: %s", self._settings.masked(traceback.format_exc()))
            sorry = Reply("this failed", ["the log of the Telegram bot says why"])
            self._post(lambda: self._deliver(asked.chat, sorry))

    def _post(self, send: Callable[[], Awaitable[None]]) -> None:
        self._outbox.append(send)
        self._has_mail.set()

    async def _send_answers(self) -> None:
        while True:
            await self._has_mail.wait()
            self._has_mail.clear()
            while self._outbox:
                send = self._outbox.popleft()
                with suppress(Declined):  # a button that is too old, a chat that is gone
                    await self._patiently("sending", send)

    async def _tell_news(self) -> None:
        """Tell what there is to tell, and whether commands were obeyed."""
        while True:
            try:
                for command, state, reply in self._giving.answered():
                    if command["chat"] in self._settings.chats:
                        await self._tell(command["chat"], reply)
                    self._giving.tell(command, state)
                for notice in self._notices.due():
                    for chat in sorted(self._settings.chats):
                        await self._tell(chat, notice.reply)
                    self._notices.told(notice)
            except Exception as error:  # the next look may find what this one has not
                self._say_once(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._look)

    async def _tell(self, chat: int, reply: Reply) -> None:
        try:
            await self._deliver(chat, reply)
        except Declined as error:
            self._say_once(f"chat {chat} is not told anything: {error}")

    async def _deliver(self, chat: int, reply: Reply) -> None:
        """Send a reply, page by page; each page is tried until Telegram has it."""
        if reply.picture:
            await self._patiently("sending", lambda: self._line.send_picture(chat, reply))
            return
        texts = list(pages(reply))
        for text in texts:
            is_last = text is texts[-1]
            await self._patiently("sending", lambda: self._line.send_text(chat, text, reply, is_last))  # noqa: B023

    async def _patiently(self, what: str, do: Callable[[], Awaitable[T]]) -> T:
        """Return what Telegram answers, however often it has to be asked."""
        pause = _FIRST_PAUSE_S
        clock = asyncio.get_running_loop().time
        while True:
            if what == "sending":
                await asyncio.sleep(max(self._silent_until - clock(), 0.0))
            try:
                found = await do()
            except Waits as error:
                if what not in self._lost:
                    self._lost.add(what)
                    logger.warning("Telegram: %s; it is tried again", error)
                wait = pause if error.seconds is None else error.seconds
                if error.seconds is not None and what == "sending":
                    self._silent_until = clock() + wait
                await asyncio.sleep(wait)
                pause = min(2.0 * pause, _LONGEST_PAUSE_S)
                continue
            if what in self._lost:
                self._lost.discard(what)
                logger.warning("Telegram answers again")
            return found

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < _OUTBOX:
            self._said.add(text)
            logger.error("%s", self._settings.masked(text))


def until_signal(service: Service) -> None:
    """Let a Telegram bot work until SIGINT or SIGTERM; raises as `Service.run`."""

    async def work() -> None:
        task = asyncio.ensure_future(service.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C ends the program
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(work())


@contextmanager
def in_background(service: Service) -> Iterator[None]:
    """Let a Telegram bot work beside the desk, in a thread of its own; the desk goes on if it ends."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(service.run())

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except GridV4Error as error:
            logger.error("Telegram: %s", error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="telegram", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        thread.join(_JOIN_S)
