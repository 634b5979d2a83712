"""What the Telegram bot must know after a restart: which updates it has taken up, and what it has told already."""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.private_files import write_private

logger = logging.getLogger("gridv4.telegram")
_SEEN = 200  # updates
_WEEK_S = 6 * 86_400.0  #: after a week without updates Telegram may number them anew
_GIVEN = 200  # commands whose answers are waited for
_FORGOTTEN_S = 30 * 86_400.0  # after which an answer is not waited for any more


class TelegramMemory:
    """The file of one Telegram bot, which its owner alone may read.

    Parameters
    ----------
    bot : Telegram's number of the bot; the memory of another one is not gone on with.
    now : seconds since the epoch.

    Raises
    ------
    ConfigError
        The file cannot be read or written.
    """

    def __init__(self, path: Path, bot: str, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._bot = bot
        self._now = now
        self._is_unwritten = False
        kept = self._read()
        self._offset: int | None = kept.get("offset")
        self._at: float = kept.get("at", 0.0)  # when the latest update was taken up
        self._seen: list[int] = kept.get("seen", [])
        self._told: dict[str, dict[str, Any]] = kept.get("told", {})  # by state directory
        self._given: list[dict[str, Any]] = kept.get("given", [])
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); name another file") from None

    def offset(self) -> int | None:
        """Return from which update on Telegram is asked; None: from the first one that it has."""
        return self._offset if self._now() - self._at < _WEEK_S else None

    def is_taken_up(self, update: int) -> bool:
        """Return whether an update was taken up before."""
        return update in self._seen

    def take_up(self, update: int) -> None:
        """Note that an update is taken up; it is not asked for again."""
        self._seen = [*self._seen[1 - _SEEN :], update]
        self._offset, self._at = update + 1, self._now()
        self.save()

    def told(self, folder: Path) -> dict[str, Any] | None:
        """Return what was told of a bot, None if it is not known yet."""
        return self._told.get(str(folder))

    def tell(self, folder: Path, **what: Any) -> None:
        """Note what was told of a bot; it is kept by the next `save`."""
        self._told.setdefault(str(folder), {}).update(what)

    def given(self) -> list[dict[str, Any]]:
        """Return the commands whose answers are waited for: `id`, `folder`, `bot`, `chat`, `what`, `state`, `at`."""
        return self._given

    def wait_for(self, command: dict[str, Any]) -> None:
        """Note a command whose answer is to be told."""
        if all(one["id"] != command["id"] for one in self._given):
            self._given = [*self._given[1 - _GIVEN :], command | {"at": self._now()}]
            self.save()

    def forget(self, command: dict[str, Any]) -> None:
        """Wait no longer for an answer."""
        since = self._now() - _FORGOTTEN_S
        self._given = [one for one in self._given if one["id"] != command["id"] and one["at"] > since]

    def save(self) -> None:
        """Write the file, whole or not at all; with a full disk it goes on without, and after a restart tells again."""
        try:
            self._write()
            self._is_unwritten = False
        except OSError as error:
            if not self._is_unwritten:
                logger.error("%s cannot be written: %s", self._path, error.strerror)
            self._is_unwritten = True

    def _write(self) -> None:
        content = {
            "bot": self._bot, "offset": self._offset, "at": self._at, "seen": self._seen, "told": self._told,
            "given": self._given,
        }  # fmt: skip
        draft = self._path.with_suffix(".tmp")
        write_private(draft, json.dumps(content) + "\n")
        os.replace(draft, self._path)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["bot"] == self._bot:
                return dict(content)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read ({error.strerror}); name another file") from None
        except (ValueError, KeyError, TypeError):
            aside = self._path.with_suffix(".damaged")
            os.replace(self._path, aside)
            logger.warning("%s is damaged and set aside as %s; what was told before is not known", self._path, aside)
        return {}
