"""Who may do what at the desk: tokens, sessions, and what a browser's request must show."""

import hmac
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.private_files import is_open_to_others, private

READS, COMMANDS = "reads", "commands"  #: what a visitor may do; one who commands reads too
COOKIE = "gridv4_desk"
CSRF_HEADER = "x-csrf-token"
_TOKEN_FILES = {COMMANDS: "token", READS: "read-token"}
_SESSION_S = 12 * 3_600.0
_SESSIONS = 100
_TRIES, _TRIES_S = 5, 60.0


@dataclass(frozen=True)
class Visitor:
    """Who asks: with a token in the request, or in a session of a browser."""

    role: str
    csrf: str = ""  #: of a session; a request with a token needs none
    session: str = ""
    until: float = 0.0


class Access:
    """The tokens of a desk and the sessions of its visitors.

    Parameters
    ----------
    folder : where the tokens are kept; they are made at the first start, readable by the owner alone.
    clock : seconds that never go back.

    Raises
    ------
    ConfigError
        Others may read a token.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tokens = {role: _token(folder / name) for role, name in _TOKEN_FILES.items()}
        self._clock = clock
        self._sessions: dict[str, Visitor] = {}
        self._failed: deque[float] = deque()

    def role_of(self, token: str) -> str | None:
        """Return what a token allows, None for a wrong one; each comparison takes the same time."""
        found = None
        for role, known in self.tokens.items():
            if hmac.compare_digest(token.encode(), known.encode()):
                found = role
        return found

    def wait(self) -> float:
        """Return for how many seconds no token is looked at, after too many wrong ones."""
        now = self._clock()
        while self._failed and now - self._failed[0] >= _TRIES_S:
            self._failed.popleft()
        return _TRIES_S - (now - self._failed[0]) if len(self._failed) >= _TRIES else 0.0

    def log_in(self, token: str) -> Visitor | None:
        """Begin a session with a token, None for a wrong one."""
        role = self.check(token)
        if role is None:
            return None
        now = self._clock()
        self._sessions = {key: one for key, one in self._sessions.items() if one.until > now}
        while len(self._sessions) >= _SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        key = secrets.token_urlsafe(32)
        self._sessions[key] = Visitor(role, secrets.token_urlsafe(32), key, now + _SESSION_S)
        return self._sessions[key]

    def check(self, token: str) -> str | None:
        """Return what a token allows, and count a wrong one."""
        role = self.role_of(token)
        if role is None:
            self._failed.append(self._clock())
        return role

    def visitor(self, session: str) -> Visitor | None:
        """Return who has a session, None if it is over."""
        found = self._sessions.get(session)
        return found if found is not None and found.until > self._clock() else None

    def log_out(self, session: str) -> None:
        """End a session."""
        self._sessions.pop(session, None)


def is_known_host(host: str, known: frozenset[str]) -> bool:
    """Return whether a request's Host is one of the desk's: a name that another site has made to lead here is not."""
    try:
        return (urlsplit(f"//{host}").hostname or "") in known
    except ValueError:
        return False


def is_own_origin(origin: str, host: str, scheme: str) -> bool:
    """Return whether the page that sends a request is the desk's own."""
    return origin == f"{scheme}://{host}"


def _token(path: Path) -> str:
    try:
        with open(path, "x", encoding="ascii", opener=_new) as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    if is_open_to_others(path):
        raise ConfigError(f"{path}: others may read this token; delete it, and a new one is made at the next start")
    token = path.read_text(encoding="ascii").strip()
    if len(token) < 32:
        raise ConfigError(f"{path}: holds no token; delete it, and a new one is made at the next start")
    return token


def _new(path: str, flags: int) -> int:
    return private(path, flags | os.O_EXCL)
