"""The bots of the desk: the state directories that it finds, and their names."""

import re
import threading
from collections.abc import Sequence
from pathlib import Path

from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.errors import ConfigError

_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class StateDirs:
    """The state directories in some folders; those that appear later are found too.

    Parameters
    ----------
    places : state directories, or folders of them.

    Raises
    ------
    ConfigError
        One of the places is no folder.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        for place in places:
            if not place.is_dir():
                raise ConfigError(f"{place}: is no folder; name a --state-dir of gridv4 live, or a folder of them")
        self._places = [place.resolve() for place in places]
        self._bots: dict[str, BotFiles] = {}
        self._guard = threading.Lock()

    def bots(self) -> dict[str, BotFiles]:
        """Return the bots by name, those that have come included, those whose folder is gone left out."""
        found = [folder for place in self._places for folder in _state_dirs(place)]
        with self._guard:
            self._take(found)
            return dict(sorted(self._bots.items()))

    def _take(self, found: Sequence[Path]) -> None:
        known = {bot.folder: name for name, bot in self._bots.items()}
        for name, bot in list(self._bots.items()):
            if bot.folder not in found:
                del self._bots[name]
        for folder in found:
            if folder not in known:
                self._bots[self._free_name(folder)] = BotFiles(folder)

    def _free_name(self, folder: Path) -> str:
        """Return the folder's name for addresses, with a number where another one has it."""
        plain = _NAME.sub("-", folder.name) or "bot"
        name, number = plain, 1
        while name in self._bots:
            number += 1
            name = f"{plain}-{number}"
        return name


def _state_dirs(place: Path) -> list[Path]:
    if is_state_dir(place):
        return [place]
    try:
        return sorted(folder for folder in place.iterdir() if folder.is_dir() and is_state_dir(folder))
    except OSError:
        return []


def is_state_dir(folder: Path) -> bool:
    """Return whether a bot has begun in a folder."""
    return (folder / "lock").exists() and (folder / "events.jsonl").exists()
