"""Keys and addresses of the environment or of the file .env: the only places where secrets are read from."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.private_files import is_open_to_others

logger = logging.getLogger("gridv4.live")
KEY, SECRET = "BINANCE_API_KEY", "BINANCE_API_SECRET"


class Keys(NamedTuple):
    """An API key; its representation never shows it."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Keys(...)"

    def __str__(self) -> str:
        return repr(self)


def read_settings(folder: Path, *names: str) -> list[str]:
    """Return variables of the environment, or of the file .env in a folder; empty texts for those in neither."""
    found = [os.environ.get(name, "").strip() for name in names]
    if not all(found):
        try:
            from dotenv import dotenv_values
        except ImportError:
            return found
        path = folder / ".env"
        _warn_of_readers(path)
        kept = dotenv_values(path)
        found = [(kept.get(name) or "").strip() for name in names]
    return found


@cache
def _warn_of_readers(path: Path) -> None:
    if is_open_to_others(path):
        logger.warning("%s: others may read the keys in it: chmod 600 %s", path, path)


def read_keys(folder: Path) -> Keys:
    """Return the API key of the environment, or of the file .env in a folder.

    Raises
    ------
    ConfigError
        There is none.
    """
    key, secret = read_settings(folder, KEY, SECRET)
    if not (key and secret):
        raise ConfigError(
            f"no API key: set {KEY} and {SECRET} in the environment or in a file .env (it is read if "
            "python-dotenv is installed), or use --paper, which needs none"
        )
    return Keys(key, secret)
