"""What the Telegram bot is told by the environment or the file .env, and by nothing else: it holds a secret."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from gridv4_bt.desk.telegram.quiet_hours import QuietHours, read_quiet_hours
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.keys import read_settings

TOKEN = "GRIDV4_TELEGRAM_TOKEN"  # noqa: S105 (the name of a variable)
CHATS = "GRIDV4_TELEGRAM_CHATS"
USERS = "GRIDV4_TELEGRAM_USERS"
READERS = "GRIDV4_TELEGRAM_READERS"
QUIET = "GRIDV4_TELEGRAM_QUIET"
SERVER = "GRIDV4_TELEGRAM_SERVER"
#: Each variable, and what it says.
VARIABLES = {
    TOKEN: "the token that BotFather gives; whoever has it is the bot",
    CHATS: "numbers of the chats that are answered and told, separated by commas or blanks; a group's is below zero",
    USERS: "numbers of the users who may read and command; without it everyone in these chats, in a group every member",
    READERS: "numbers of users who may only read",
    QUIET: "hours in which only risk is told: `22:00-07:00`, of UTC, or `22:00-07:00 Europe/Berlin`",
    SERVER: "a Bot API server of your own in place of `https://api.telegram.org`",
}
_TOKEN = re.compile(r"(\d{3,20}):[A-Za-z0-9_-]{20,100}")
_TELEGRAM = "https://api.telegram.org"


@dataclass(frozen=True)
class TelegramSettings:
    """What a Telegram bot is told."""

    token: str = field(repr=False)
    chats: frozenset[int]
    users: frozenset[int] = frozenset()
    readers: frozenset[int] = frozenset()
    quiet: QuietHours | None = None
    server: str = _TELEGRAM

    @property
    def bot(self) -> str:
        """The bot's number, which is no secret."""
        return self.token.partition(":")[0]

    def masked(self, text: str) -> str:
        """Return a text without the token."""
        return text.replace(self.token, "***").replace(self.token.partition(":")[2], "***")


def read_telegram_settings(folder: Path) -> TelegramSettings:
    """Return the settings of the environment, or of the file .env in a folder.

    Raises
    ------
    ConfigError
        There is no token, or one of them is not what it should be; no message holds the token.
    """
    found = {name: read_settings(folder, name)[0] for name in VARIABLES}
    if not found[TOKEN]:
        raise ConfigError(
            f"{TOKEN} is not set: write /newbot to @BotFather in Telegram, and put the token into the environment or "
            "a file .env (it is read if python-dotenv is installed)"
        )
    if not _TOKEN.fullmatch(found[TOKEN]):
        raise ConfigError(
            f"{TOKEN}: is no token of a bot; copy the whole line that BotFather gives, like 123456:AAE..."
        )
    server = found[SERVER].rstrip("/") or _TELEGRAM
    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"{SERVER}: must begin with http:// or https://")
    try:
        quiet = read_quiet_hours(found[QUIET])
    except ConfigError as error:
        raise ConfigError(f"{QUIET}: {error}") from None
    chats, users, readers = (_numbers(name, found[name]) for name in (CHATS, USERS, READERS))
    return TelegramSettings(found[TOKEN], chats, users, readers, quiet, server)


def _numbers(name: str, text: str) -> frozenset[int]:
    words = text.replace(",", " ").split()
    try:
        return frozenset(map(int, words))
    except ValueError:
        raise ConfigError(f"{name}: must be numbers, separated by commas; a @name is none") from None
