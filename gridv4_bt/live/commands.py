"""Commands of a person to a running bot: files in its state directory, each carried out once, whatever dies between.

The desk writes ``commands/ID.json``. The bot looks at every close and between the candles. It journals a command with
its id before it acts, saves the state that says that it has acted, writes the answer ``commands/ID.answer.json``, and
only then removes the command. One that is found again after a kill is either in the saved state, and is answered, or it
is carried out again, which comes to the same: a pause twice is a pause, and a leg that is being closed is closed once,
because an order that the journal knows is not sent a second time.

A pause holds until it is resumed, over restarts. Closing a leg pauses it too, else the grid would open it again; it
goes on at every look until nothing is held.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gridv4_bt.core.time import iso
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.labels import MANUAL
from gridv4_bt.engine.matching import order_close
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.command_files import (
    ACCOUNT,
    ANSWER,
    FOLDER,
    ID,
    Action,
    Command,
    is_in_scope,
    read_command,
    text_of,
    write_whole,
)
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.order_diff import Unbooked
from gridv4_bt.live.own_orders import OrderStatus
from gridv4_bt.live.reconciliation import Reconciler

_REMEMBERED = 1_000  # ids of commands that are done


class Commands:
    """The commands to one bot.

    Parameters
    ----------
    books : returns the books whose orders may be placed now, none before they are known.
    save : saves the state, with `to_json` in it.
    saved : the result of `to_json` in the state saved last.
    known : number of the newest journal record that this state includes.
    """

    def __init__(
        self,
        folder: Path,
        reconciler: Reconciler,
        symbols: Sequence[str],
        books: Callable[[], Sequence[Book]],
        save: Callable[[], None],
        saved: Mapping[str, Any] | None,
        known: int,
    ) -> None:
        self._folder = folder / FOLDER
        self._reconciler = reconciler
        self._symbols = symbols
        self._books = books
        self._save = save
        saved = saved or {}
        self._pauses: dict[str, dict[str, str]] = dict(saved.get("pauses", {}))  # by scope
        self._closing: dict[str, str] = dict(saved.get("closing", {}))  # id of the command by leg
        self._done: list[str] = list(saved.get("done", ()))
        self._answers: list[dict[str, Any]] = []  # to be written once the state is saved
        self._lost = [  # journaled, not in the state, and perhaps without their file
            record["command"] for record in reconciler.journal.before if "command" in record and record["n"] > known
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what a restart needs, as JSON values."""
        return {"pauses": self._pauses, "closing": self._closing, "done": self._done[-_REMEMBERED:]}

    def at_close(self) -> None:
        """Take up what waits, before the strategies decide; their orders carry it out."""
        books = self._books()
        if books:
            self._take_up(books, "at the close")
            self._apply(books)

    def between(self) -> None:
        """Take up what waits between two candles, and carry it out at once."""
        books = self._books()
        if not books or not (self._waiting() or self._closing or self._lost):
            return
        connection = self._reconciler.executor.connection
        if connection.gate.wait(can_wait=True) > 0.0:
            return
        try:
            self._reconciler.poll(self._symbols)
            concerned = self._take_up(books, "between the candles")
            self._apply(books)
            for book in books:
                is_closing = any(_leg_name(book, leg) in self._closing for leg in book.legs)
                if (book.symbol in concerned or is_closing) and not self._reconciler.was_stopped(book.symbol):
                    self._reconciler.carry_out(book)
        except (Refused, Unreachable) as failure:  # what is not carried out yet is at the next look
            self._reconciler.log("alert", what="not_carried_out", text=str(failure))
        self._save()
        self.answer()

    def answer(self) -> None:
        """Write the answers of the commands that the saved state includes."""
        for answer in self._answers:
            write_whole(self._folder / f"{answer['id']}{ANSWER}", answer)
            (self._folder / f"{answer['id']}.json").unlink(missing_ok=True)
        self._answers.clear()

    # ---

    def _waiting(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.glob("*.json") if not path.name.endswith(ANSWER)]
        return sorted(found, key=lambda path: (_time_of(path), path.name))

    def _take_up(self, books: Sequence[Book], when: str) -> set[str]:
        """Take up all commands that wait, and return the symbols that they concern."""
        concerned: set[str] = set()
        for command in self._commands():
            if command.id not in self._done:
                self._reconciler.journal.write([{"orders": [], "command": command.__dict__}])
                text = self._act(command, books)
                self._done.append(command.id)
                state = "works" if command.id in self._closing.values() else "done"
                self._tell(command.__dict__, state, f"{text} ({when})")
                self._reconciler.log(
                    "command", id=command.id, action=str(command.action), scope=command.scope, by=command.by,
                    given=command.at, text=text,
                )  # fmt: skip
            else:
                self._tell(command.__dict__, "done", "carried out before the bot was stopped")
            concerned |= {book.symbol for book in books for side in PositionSide if command.covers(book.symbol, side)}
        self._lost.clear()
        return concerned

    def _commands(self) -> list[Command]:
        found: dict[str, Command] = {}
        for path in self._waiting():
            name = path.name.removesuffix(".json")
            try:
                command = read_command(text_of(path), self._symbols)
                if command.id != name or not ID.fullmatch(name):
                    raise ValueError("its id is not its name")
                found[command.id] = command
            except (OSError, ValueError) as error:
                self._reconciler.log("command", id=name, refused=str(error))
                self._tell({"id": name, "at": iso(self._now())}, "refused", str(error))
        for content in self._lost:
            command = Command(**content | {"action": Action(content["action"])})
            found.setdefault(command.id, command)
        return list(found.values())

    def _now(self) -> int:
        return self._reconciler.executor.connection.clock.now()

    def _tell(self, content: Mapping[str, Any], state: str, text: str) -> None:
        self._answers.append({**content, "state": state, "answered": iso(self._now()), "text": text})

    def _act(self, command: Command, books: Sequence[Book]) -> str:
        """Carry a command out on the books, and return what was done."""
        legs = [(book, leg) for book in books for leg in book.legs if command.covers(book.symbol, leg.side)]
        if command.action is Action.RESUME:
            return self._resume(command, legs)
        if command.action is Action.RESYNC:
            return "orders and trades are read again, what was missing is placed; the next close compares positions"
        entries = sum(leg.entry_count for _, leg in legs)
        if command.action is Action.CANCEL:
            for book, leg in legs:
                _cancel_entries(book, leg)
            return f"{entries} entries are cancelled"
        self._pauses[command.scope] = {
            "id": command.id, "by": command.by, "at": command.at, "action": str(command.action),
        }  # fmt: skip
        if command.action is Action.FLATTEN:
            held = [f"{_leg_name(book, leg)} {leg.tracker.qty:g}" for book, leg in legs if leg.tracker.ids]
            self._closing |= {_leg_name(book, leg): command.id for book, leg in legs}
            return f"closing {', '.join(held) or 'nothing: flat already'}; paused, {entries} entries are cancelled"
        return f"paused, {entries} entries are cancelled; exits and stops stay"

    def _resume(self, command: Command, legs: Sequence[tuple[Book, Leg]]) -> str:
        """Lift the pauses in a scope; one that takes a symbol out is lifted by resuming this very symbol."""
        inside = [
            scope
            for scope, pause in self._pauses.items()
            if _holds(command.scope, scope) and (pause["action"] != Action.TAKE_OUT or scope == command.scope)
        ]
        for scope in inside:
            del self._pauses[scope]
        names = {_leg_name(book, leg) for book, leg in legs}
        self._closing = {leg: number for leg, number in self._closing.items() if leg not in names}
        left = [scope for scope in self._pauses if any(is_in_scope(scope, book.symbol, leg.side) for book, leg in legs)]
        return f"lifted: {', '.join(inside) or 'nothing'}" + (f"; still paused by {', '.join(left)}" if left else "")

    def _apply(self, books: Sequence[Book]) -> None:
        """Make the books obey: entries of paused legs go, and legs that are to be closed are."""
        for book in books:
            for leg in book.legs:
                is_paused = any(is_in_scope(scope, book.symbol, leg.side) for scope in self._pauses)
                leg.leg.paused = int(is_paused)
                if is_paused:
                    _cancel_entries(book, leg)
                if (name := _leg_name(book, leg)) in self._closing:
                    for index, qty in enumerate(leg.tracker.qtys):
                        order_close(book, leg, index, qty, MANUAL)
                    if self._is_flat(book, leg):
                        self._closed(name)

    def _is_flat(self, book: Book, leg: Leg) -> bool:
        """Return whether nothing is held and nothing may be filled any more."""
        entries = self._reconciler.orders.of(book.symbol, leg.side, Purpose.ENTRY)
        unbooked = Unbooked(self._reconciler.unbooked, book.symbol).change(leg.side)
        may_fill = any(order.status is not OrderStatus.DONE for order in entries)
        return not leg.tracker.ids and abs(unbooked) <= LOT_NOISE and not may_fill

    def _closed(self, name: str) -> None:
        """Note that a leg is closed; the command is done with its last one."""
        number = self._closing.pop(name)
        self._reconciler.log("command", id=number, flat=name)
        if number not in self._closing.values():
            given = self._pauses.get(ACCOUNT, {}) | {"id": number}
            given = next((one for one in self._pauses.values() if one["id"] == number), given)
            scope = next((scope for scope, one in self._pauses.items() if one["id"] == number), name)
            content = {"action": str(Action.FLATTEN), "at": iso(self._now())} | given | {"scope": scope}
            self._tell(content, "done", "closed and paused")


def _cancel_entries(book: Book, leg: Leg) -> None:
    if leg.entry_count:
        leg.cancel_entries()
        book.orders_changed()


def _leg_name(book: Book, leg: Leg) -> str:
    return f"{book.symbol} {leg.side.name}"


def _holds(outer: str, scope: str) -> bool:
    """Return whether a scope lies in another one."""
    return outer in (ACCOUNT, scope) or scope.startswith(f"{outer} ")


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
