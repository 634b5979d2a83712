"""The lock of a state directory: one bot works in it."""

import os
from contextlib import suppress
from pathlib import Path

import filelock

from gridv4_bt.errors import ConfigError, LiveError

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove an open lock file
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """The lock that one bot holds on its state directory.

    It is held twice: on the file ``lock``, and on the folder itself, so that removing the file lets nobody in.

    Raises
    ------
    ConfigError
        Another bot works in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = filelock.FileLock(folder / "lock", mode=0o600)
        try:
            self._file.acquire(timeout=0)
        except filelock.Timeout:
            raise _taken(folder) from None
        self._handle = os.open(folder, os.O_RDONLY) if fcntl is not None else -1
        if self._handle >= 0:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                raise _taken(folder) from None
            except OSError:  # a network file system locks files only
                pass

    def check(self) -> None:
        """Check that the folder is still the one that is locked.

        Raises
        ------
        LiveError
            It was removed or replaced, and another bot may work in its place.
        """
        if self._handle >= 0:
            try:
                is_same = os.path.samestat(os.fstat(self._handle), self._folder.stat())
            except FileNotFoundError:
                is_same = False
            if not is_same:
                raise LiveError(
                    f"{self._folder} was removed or replaced while the bot was working in it: put it back, or look at "
                    "the exchange and start with a new --state-dir"
                )

    def renew(self) -> None:
        """Show that the bot lives: others look at how old the lock file is."""
        with suppress(OSError):
            os.utime(self._folder / "lock")

    def release(self) -> None:
        """Let another bot in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._file.release()


def _taken(folder: Path) -> ConfigError:
    return ConfigError(f"{folder}: another bot works here; stop it, or name another --state-dir")
