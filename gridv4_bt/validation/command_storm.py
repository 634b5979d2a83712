"""Commands of a person in a chaos test: given at random by files and at a desk, and the laws that hold for them.

What the bot has answered is read from its commands' folder; what it does is seen inside the exchange.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.messages import Request
from gridv4_bt.live.command_files import ACCOUNT, FOLDER, Action, Command, answers, holds, write_command
from gridv4_bt.live.journal import journaled_commands
from gridv4_bt.live.state import NAME as STATE
from gridv4_bt.validation.laws import Law, Laws, orders_of

#: How often each action is drawn; a bot that is paused most of the time would trade too little to test anything.
_ACTIONS = {
    Action.RESUME: 16, Action.PAUSE: 4, Action.FLATTEN: 2, Action.CANCEL: 3, Action.RESYNC: 3, Action.TAKE_OUT: 1,
}  # fmt: skip
_PAUSING = (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN)
_FOREIGN_SHARE = 0.2  # files that are no commands, by command
_CLOSING_SHARE = 0.4  # commands that close, while something is held
_DESK_SHARE = 0.5  # commands that are posted at the desk, if there is one


class Desk(Protocol):
    """A desk in a process of its own, which is killed while commands are posted to it."""

    kills: int
    posts: int  #: requests, those of retries included

    def start(self, folder: Path) -> None:
        """Begin to serve a folder of state directories."""

    def post(self, command: Command) -> None:
        """Post a command in the background, again and again until it is accepted, with its id as the key."""

    def accepted(self) -> Sequence[str]:
        """Return the ids of the commands that were accepted."""

    def drain(self) -> None:
        """Wait until everything is accepted."""

    def close(self) -> None:
        """End the process."""


@dataclass
class _Given:
    command: Command
    done_before: frozenset[str]  #: ids of the commands that were done when this one was given


class CommandStorm:
    """The commands of a seed.

    Parameters
    ----------
    folder : state directory of the bot.
    mean : requests between two commands, on average.
    until : exchange's time, ms, from which on none is given, so that all can be answered.
    """

    def __init__(
        self, rng: random.Random, folder: Path, symbol: str, mean: float, until: int, laws: Laws, desk: Desk | None
    ) -> None:
        self.counts: Counter[str] = Counter()  #: of commands by action, and of files that are none
        self._rng = rng
        self._folder = folder
        self._symbol = symbol
        self._mean = mean
        self._until = until
        self._laws = laws
        self._desk = desk
        self._wait = self._draw()
        self._number = 0
        self._given: dict[str, _Given] = {}
        self._done: set[str] = set()
        self._paused: list[Command] = []  # that hold at the moment, as the next
        self._flat: list[Command] = []
        self._told: set[str] = set()
        self._seen = 0  # change of the commands' folder seen last, ns
        self._drained = desk is None

    def _draw(self) -> float:
        return self._rng.expovariate(1.0 / self._mean)

    def look(self, exchange: Exchange) -> None:
        """Give a command if it is time."""
        self._wait -= 1.0
        now = exchange.now
        if now >= self._until:
            if not self._drained and self._desk is not None:
                self._drained = True
                self._desk.drain()
            return
        if self._wait > 0.0 or not (self._folder / STATE).exists():
            return
        self._wait = self._draw()
        self._number += 1
        command = self._new([leg for leg, position in exchange.ledger.positions.items() if position.qty > 0.0])
        self.counts[command.action] += 1
        self._read()
        self._given[command.id] = _Given(command, frozenset(self._done))
        self._find_holding()
        if self._desk is not None and self._rng.random() < _DESK_SHARE:
            self._desk.post(command)
        else:
            write_command(self._folder, command, command.scope)
        if self._rng.random() < _FOREIGN_SHARE:
            self.counts["foreign"] += self._write_foreign()

    def _new(self, held: Sequence[tuple[str, PositionSide]]) -> Command:
        rng = self._rng
        [action] = rng.choices(list(_ACTIONS), list(_ACTIONS.values()))
        scopes = [ACCOUNT, self._symbol, *(f"{self._symbol} {side.name}" for side in PositionSide)]
        if held and rng.random() < _CLOSING_SHARE:
            action, scopes = Action.FLATTEN, [ACCOUNT, *(f"{symbol} {side.name}" for symbol, side in held)]
        if action is Action.TAKE_OUT:
            scopes = [self._symbol]
        elif action is Action.RESUME:
            scopes = [ACCOUNT, ACCOUNT, self._symbol, *scopes]
        share, limit = 1.0, None
        if action is Action.FLATTEN:
            share, limit = rng.choice([1.0, 1.0, 0.5, 0.3]), rng.choice([None, None, 0.0])
        return Command(
            f"chaos-{self._number:06}", action, rng.choice(scopes), "chaos", "2026-01-01T00:00:00Z", share, limit
        )

    def _write_foreign(self) -> int:
        """Write something that is no command; return 1 if it could be written."""
        folder, name = self._folder / FOLDER, f"foreign-{self._number:06}"
        folder.mkdir(mode=0o700, exist_ok=True)
        good = json.dumps({"id": name, "action": "pause", "scope": ACCOUNT, "by": "x", "at": "x"})
        texts = {
            "torn": good[: len(good) // 2], "deep": "[" * 4_000, "long": good + " " * 5_000, "empty": "",
            "other id": good.replace(name, "another-one"), "number": good[:-1] + f', "share": 1{"0" * 400}}}',
            "scope": good.replace(ACCOUNT, "DOGEUSDT"), "bytes": "\udcff\udcfe",
        }  # fmt: skip
        kind = self._rng.choice([*texts, "folder", "link", "name"])
        try:
            if kind == "folder":
                (folder / f"{name}.json").mkdir()
                (folder / f"{name}.json" / "x").touch()
            elif kind == "link":
                (folder / f"{name}.json").symlink_to("/etc/passwd")
            elif kind == "name":
                (folder / f"{'x' * 249}.json").write_text(good, encoding="utf-8")
            else:
                data = texts[kind].encode("utf-8", "surrogateescape")
                (folder / f"{name}.json").write_bytes(data)
        except OSError:
            return 0
        return 1

    # --- laws

    def observe(self, exchange: Exchange, request: Request) -> None:
        """Hold what the bot has just done against what it has answered."""
        if self._read():
            self._find_holding()
        if not self._paused:
            return
        now, name = exchange.now, f"{request.method} {request.path}"
        for order in orders_of(request) if request.method == "POST" else ():
            side = order.get("positionSide", "")
            if "side" not in order or (order["side"] == "BUY") != (side == "LONG"):
                continue
            for pause in self._paused:
                if pause.covers(order["symbol"], PositionSide[side]):
                    text = f"{order.get('newClientOrderId')} is sent, and {pause.id} has paused {pause.scope}"
                    self._break(Law.PAUSE, now, name, text)
        for flatten in self._flat:
            for (symbol, leg), position in exchange.ledger.positions.items():
                if flatten.covers(symbol, leg) and position.qty > 0.0:
                    self._break(Law.FLAT, now, name, f"{symbol} {leg.name} is held, and {flatten.id} has closed it")

    def _break(self, law: Law, now: int, request: str, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._laws.broken(law, now, text, request)

    def _read(self) -> bool:
        """Take in the answers; return whether there may be new ones."""
        try:
            changed = (self._folder / FOLDER).stat().st_mtime_ns
        except OSError:
            return False
        if changed == self._seen:
            return False
        self._seen = changed
        self._done = {str(one["id"]) for one in answers(self._folder) if one.get("state") == "done"}
        return True

    def _find_holding(self) -> None:
        """Find the commands that are done and that no other one may have lifted."""
        self._paused = [one.command for one in self._given.values() if self._holds_still(one, _lifts_pause)]
        closes = [one for one in self._given.values() if one.command.action is Action.FLATTEN]
        self._flat = [one.command for one in closes if one.command.share == 1.0 and self._holds_still(one, _lifts_flat)]

    def _holds_still(self, given: _Given, lifts: Callable[[Command, Command], bool]) -> bool:
        command = given.command
        if command.action not in _PAUSING or command.id not in self._done:
            return False
        others = (one.command for one in self._given.values() if one is not given)
        return not any(other.id not in given.done_before and lifts(other, command) for other in others)

    def judge(self, now: int) -> None:
        """Check at the end that every command was answered, and taken up once."""
        found = {one.get("id"): one for one in answers(self._folder)}
        for number in sorted(self._given):
            answer, command = found.get(number), self._given[number].command
            state = "" if answer is None else answer["state"]
            rests = command.limit is not None and state == "works"  # its exits may rest for long
            if state != "done" and not rests:
                text = f"{number}, {command.action} {command.scope}: {state or 'is gone'}"
                self._laws.broken(Law.LOST, now, text)
        records = journaled_commands(self._folder)
        for number, taken in records.items():
            if any(one != taken[0] for one in taken):
                self._laws.broken(Law.TWICE, now, f"{number} was carried out in {len(taken)} ways")
        state = json.loads((self._folder / STATE).read_text(encoding="utf-8"))
        done = (state.get("commands") or {}).get("done", [])
        for number, count in Counter(done).items():
            if count > 1:
                self._laws.broken(Law.TWICE, now, f"{number} was carried out {count} times")
            if (self._folder / FOLDER / f"{number}.json").exists():
                self._laws.broken(Law.TWICE, now, f"{number} is done and its file is still there")


def _lifts_pause(other: Command, pause: Command) -> bool:
    """Return whether a command lifts the pause of another one."""
    if other.action is not Action.RESUME:
        return False
    return holds(other.scope, pause.scope) and (pause.action is not Action.TAKE_OUT or other.scope == pause.scope)


def _lifts_flat(other: Command, flatten: Command) -> bool:
    """Return whether a leg may be held again, or still, because of a command later than the one that closes it."""
    if other.action not in (Action.RESUME, Action.FLATTEN) or (other.action is Action.FLATTEN and other.share == 1.0):
        return False
    return holds(other.scope, flatten.scope) or holds(flatten.scope, other.scope)
