"""The line to Telegram: the only module that knows python-telegram-bot, and what its exceptions mean here."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from gridv4_bt.desk.telegram.chat_commands import CHAT_COMMANDS
from gridv4_bt.desk.telegram.replies import Asked, Pressed, Reply, caption, pages
from gridv4_bt.desk.telegram.telegram_settings import TOKEN, TelegramSettings
from gridv4_bt.errors import ConfigError, GridV4Error

_CONFLICT_S = 15.0  # between two tries while another program asks with the same token
_READ_S = 15.0  # for an answer
_LINES = 4  # answers and notices are sent at the same time
_NAME = 40  # characters of a user's name
_KINDS = ("message", "callback_query")


class Waits(GridV4Error):
    """Telegram has not done what was asked; it may be asked again after some seconds."""

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds  #: None: the line does not say


class Declined(GridV4Error):
    """Telegram will never do what was asked: the chat is gone, or has thrown the bot out."""


class Line:
    """The line of one Telegram bot.

    Parameters
    ----------
    poll : seconds for which Telegram keeps a question for updates open.

    Raises
    ------
    ConfigError
        python-telegram-bot is not installed.
    """

    def __init__(self, settings: TelegramSettings, poll: float = 25.0) -> None:
        try:
            # The library's own switch: spans of time come as timedelta, without a warning at each of them.
            os.environ.setdefault("PTB_TIMEDELTA", "1")
            import telegram
            from telegram.request import HTTPXRequest
        except ImportError:
            raise ConfigError("Telegram needs python-telegram-bot: pip install 'gridstrategy-v4[telegram]'") from None
        keep_secret(settings)
        self._telegram: Any = telegram
        self._settings = settings
        self._poll = poll
        waits: Any = {
            "connect_timeout": _READ_S,
            "read_timeout": _READ_S,
            "write_timeout": _READ_S,
            "pool_timeout": _READ_S,
        }
        self._bot: Any = telegram.Bot(
            settings.token, base_url=f"{settings.server}/bot", request=HTTPXRequest(_LINES, **waits),
            get_updates_request=HTTPXRequest(**waits),
        )  # fmt: skip

    async def open(self) -> str:
        """Return the user name of the bot, once Telegram knows the token; its list of commands is written.

        Raises
        ------
        ConfigError
            Telegram does not know the token.
        Waits
            Telegram has not answered.
        """
        telegram = self._telegram
        try:
            with self._understood():
                await self._bot.initialize()
                await self._bot.delete_webhook()  # with one set up elsewhere nothing may be asked for
                await self._bot.set_my_commands(
                    [telegram.BotCommand(one.name, one.meaning[:256]) for one in CHAT_COMMANDS]
                )
        except Declined as error:
            raise ConfigError(f"{TOKEN}: {error}") from None
        return str(self._bot.username)

    async def close(self) -> None:
        """Close the line."""
        await self._bot.shutdown()

    async def updates(self, offset: int | None) -> list[Asked]:
        """Return what persons have sent since, waiting for it; raises `Waits`."""
        with self._understood():
            found = await self._bot.get_updates(offset=offset, timeout=round(self._poll), allowed_updates=_KINDS)
        return [_asked(one) for one in found]

    async def send_text(self, chat: int, text: str, reply: Reply, is_last: bool) -> None:
        """Send one message of a reply; raises `Waits` and `Declined`."""
        telegram = self._telegram
        with self._understood():
            await self._bot.send_message(
                chat, text, parse_mode="HTML", disable_notification=reply.is_silent,
                link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
                reply_markup=self._buttons(reply) if is_last else None,
            )  # fmt: skip

    async def send_picture(self, chat: int, reply: Reply) -> None:
        """Send a picture with its text below; raises `Waits` and `Declined`."""
        with self._understood():
            await self._bot.send_photo(
                chat, reply.picture, caption=caption(reply), parse_mode="HTML", disable_notification=reply.is_silent
            )

    async def answer_press(self, asked: Asked, pressed: Pressed) -> None:
        """Say a few words to who has pressed a button; raises `Waits` and `Declined`."""
        with self._understood():
            await self._bot.answer_callback_query(asked.button, text=pressed.words[:200])

    async def replace(self, asked: Asked, reply: Reply) -> None:
        """Put a reply in place of the message whose button was pressed; raises `Waits` and `Declined`."""
        with self._understood():
            await self._bot.edit_message_text(
                next(pages(reply)), chat_id=asked.chat, message_id=asked.message, parse_mode="HTML"
            )

    def _buttons(self, reply: Reply) -> Any:
        if not reply.buttons:
            return None
        button = self._telegram.InlineKeyboardButton
        return self._telegram.InlineKeyboardMarkup(
            [[button(words, callback_data=data) for words, data in reply.buttons]]
        )

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn the library's exceptions into ours, none of which holds the token."""
        error = self._telegram.error
        try:
            yield
        except error.RetryAfter as failure:
            wait = failure.retry_after
            seconds = wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
            raise Waits(f"too many messages (429), for {seconds:.0f} s", seconds) from None
        except error.Conflict:
            text = "another program asks with the same token (409): stop one of the two"
            raise Waits(text, _CONFLICT_S) from None
        except error.InvalidToken:
            raise Declined("Telegram does not know this token; copy it anew from @BotFather") from None
        except (error.Forbidden, error.BadRequest, error.ChatMigrated) as failure:
            raise Declined(self._settings.masked(str(failure))) from None
        except error.TelegramError as failure:
            raise Waits(self._settings.masked(str(failure)) or type(failure).__name__) from None


def keep_secret(settings: TelegramSettings) -> None:
    """Keep the token out of the logs: it is in the address of every request, which httpx logs."""

    def mask(record: logging.LogRecord) -> bool:
        record.msg, record.args = settings.masked(record.getMessage()), ()
        return True

    for name in ("httpx", "telegram.Bot", "telegram.request.HTTPXRequest"):
        logging.getLogger(name).addFilter(mask)
    for name, level in (("httpx", logging.WARNING), ("httpcore", logging.WARNING), ("telegram", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)


def _asked(update: Any) -> Asked:
    """Return what an update says; one without text or sender says nothing."""
    press, message = update.callback_query, update.message
    if press is not None and press.message is not None and press.data:
        return Asked(
            update.update_id, press.message.chat.id, press.from_user.id, press.from_user.full_name[:_NAME], press.data,
            button=press.id, message=press.message.message_id,
        )  # fmt: skip
    if message is not None and message.text and message.from_user is not None:
        age = (datetime.now(UTC) - message.date).total_seconds()
        return Asked(
            update.update_id, message.chat.id, message.from_user.id, message.from_user.full_name[:_NAME], message.text,
            max(age, 0.0), is_private=message.chat.type == "private",
        )  # fmt: skip
    return Asked(update.update_id, 0, 0, "", "")
