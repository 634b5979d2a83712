"""Who may ask and command by Telegram: chats and users on a list. Strangers get no answer."""

import logging

from gridv4_bt.desk.access import COMMANDS, READS
from gridv4_bt.desk.telegram.telegram_settings import CHATS, USERS, TelegramSettings

logger = logging.getLogger("gridv4.telegram")
_MOST = 1_000  #: strangers that are remembered, so that each is named once


class Rights:
    """The rights that the settings give."""

    def __init__(self, settings: TelegramSettings) -> None:
        self._settings = settings
        self._strangers: set[tuple[int, int]] = set()

    def role(self, chat: int, user: int) -> str | None:
        """Return what a user may do in a chat, None if nothing; a stranger is logged once."""
        one = self._settings
        if chat in one.chats:
            if user in one.users or not (one.users or user in one.readers):
                return COMMANDS
            if user in one.readers:
                return READS
        if (chat, user) not in self._strangers and len(self._strangers) < _MOST:
            self._strangers.add((chat, user))
            missing = f"{CHATS}={chat}" if chat not in one.chats else f"{USERS}={user}"
            logger.warning("not answered: user %d in chat %d is not allowed (%s would allow it)", user, chat, missing)
        return None
