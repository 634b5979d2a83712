"""Libraries that a program does not use are not loaded, because they take memory.

Those of a live bot are pandas, pyarrow and aiohttp, with which files are read, audits drawn up and asynchronous clients
made: they are loaded when something of them is first used. Of ccxt's hundred exchanges the bot's own is.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any

LATE = ("pandas", "pyarrow", "aiohttp")
#: What Backtrader and tenacity import where it is installed, and the bot has no use for.
NEVER = ("talib", "tornado")
#: Takes 100 MB; the rules have the same bits without it, and a bot that decides once a quarter of an hour has time.
SLOW_WITHOUT = "numba"
_TAKING_AWAY = Lock()


def save_memory(plain: bool) -> None:
    """Let this process, which will be a bot, load no more than it uses; `plain`: it does without numba too.

    A process that has loaded any of it before, such as a notebook, stays as it is.
    """
    if any(name in sys.modules for name in LATE):
        return
    for name in LATE:
        if find_spec(name) is not None:
            sys.modules[name] = _Late(name)
    if "ccxt" not in sys.modules and (found := find_spec("ccxt")) is not None:
        sys.modules["ccxt"] = _Ccxt(list(found.submodule_search_locations or ()))
    for name in (*NEVER, *([SLOW_WITHOUT] if plain else [])):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # to Python it is not installed


def load_talib_late() -> None:
    """Let TA-Lib, which Backtrader imports wherever it is installed, be loaded when ``bt.talib`` is first used.

    With pandas, which it imports, it takes 60 MB.
    """
    if "backtrader" not in sys.modules:
        sys.modules["backtrader.talib"] = _Late("backtrader.talib")


class _Late(ModuleType):
    """The place of a module that is not loaded yet."""

    def __getattr__(self, name: str) -> Any:
        if name in ("__spec__", "__wrapped__", "__file__"):  # Python and inspect ask for these of any module
            raise AttributeError(name)
        return getattr(self._load(), name)

    def _load(self) -> ModuleType:
        with _TAKING_AWAY:  # two threads may be first; Python itself lets one load and the other wait
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return import_module(self.__name__)


class _Ccxt(_Late):
    """ccxt as far as it is used: its errors, the base of its exchanges, single exchanges; else the whole package."""

    def __init__(self, path: list[str]) -> None:
        super().__init__("ccxt")
        self.__path__ = path

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, ModuleType):  # Python hands over modules; ccxt has a class in the place of most
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for module in ("base.errors", "base.exchange"):
            if hasattr(part := import_module(f"ccxt.{module}"), name):
                return getattr(part, name)
        if find_spec(f"ccxt.{name}") is not None:  # an exchange, or a package such as async_support
            part = import_module(f"ccxt.{name}")
            return getattr(part, name, part)
        return getattr(self._load(), name)
