"""Commands of a person to a running bot: files in its state directory, each carried out once, whatever dies between.

The desk writes ``commands/ID.json``. The bot looks at every close and between the candles. It journals a command with
its id before it acts, saves the state that says that it has acted, writes the answer ``commands/ID.answer.json``, and
only then removes the command. One that is found again after a kill is either in the saved state, and is answered, or it
is carried out again in the order of the journal, which comes to the same: a pause twice is a pause, and what of a leg
shall stay is in the journal.

A pause holds until it is resumed, over restarts; its answer says `done` once no entry can be filled any more. Closing a
leg pauses it too, else the grid would open it again; it goes on at every look until no more is held than shall stay.
A leg on which exchange and bot have differed at the latest close adds nothing either, until a close at which they agree
or until a person resumes it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gridv4_bt.core.time import iso
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.ladder import MISMATCH, PAUSED, PLACED
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.live.closing import Closing, leave_from_json, what_stays
from gridv4_bt.live.command_files import (
    ANSWER,
    FOLDER,
    ID,
    Action,
    Command,
    holds,
    is_in_scope,
    read_command,
    text_of,
    write_whole,
)
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.order_diff import Unbooked
from gridv4_bt.live.own_orders import Order, OrderStatus
from gridv4_bt.live.reconciliation import Reconciler

_REMEMBERED = 1_000  # commands that are done: so many ids, and so many answers, are kept

#: By leg, what of each fill shall stay; None: nothing.
Leaves = dict[str, dict[int, float] | None]


class _Waiting(NamedTuple):
    command: Command
    leaves: Leaves | None  #: as a process before has journaled it; None: nobody has taken the command up yet


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
        self._closing = {leg: Closing.from_json(one) for leg, one in saved.get("closing", {}).items()}
        self._released = {leg: Closing.from_json(one) for leg, one in saved.get("released", {}).items()}
        self._works: dict[str, dict[str, Any]] = dict(saved.get("works", {}))  # answers still to come to an end, by id
        self._done: list[str] = list(saved.get("done", ()))
        self._answers: dict[str, dict[str, Any]] = {}  # to be written once the state is saved, by id
        self._left_alone: set[str] = set()  # names of files that cannot be taken away
        self._lost = [  # journaled, not in the state, and perhaps without their file
            _from_journal(record)
            for record in reconciler.journal.before
            if "command" in record and record["n"] > known
        ]  # fmt: skip
        self._forget_answers()

    def to_json(self) -> dict[str, Any]:
        """Return what a restart needs, as JSON values."""
        return {
            "pauses": self._pauses,
            "closing": {leg: one.to_json() for leg, one in self._closing.items()},
            "released": {leg: one.to_json() for leg, one in self._released.items()},
            "works": self._works,
            "done": self._done[-_REMEMBERED:],
        }

    def at_close(self) -> None:
        """Take up what waits, before the strategies decide; their orders carry it out."""
        books = self._books()
        if not books:
            return
        self._take_up(books, "at the close")
        self._apply(books)
        for book, leg in _legs(books):  # the decision places all exits of a leg anew, or none
            name = _leg_name(book, leg)
            closing = self._closing.get(name)
            for one in filter(None, (self._released.pop(name, None), closing)):
                if one.limit is not None:
                    one.release_exits(book, leg)

    def decided(self, symbol: str) -> None:
        """Let the exits of legs that a person closes at a price rest there, whatever the strategy has decided."""
        for book, leg in _legs(self._books()):
            if book.symbol == symbol:
                self._rest_exits(book, leg)

    def between(self) -> None:
        """Take up what waits between two candles, and carry it out at once."""
        books = self._books()
        if not books or not (self._waiting() or self._lost or any(map(self._is_worked_on, books))):
            return
        connection = self._reconciler.executor.connection
        if connection.gate.wait(can_wait=True) > 0.0:
            return
        try:
            self._reconciler.poll(self._symbols)
            concerned = self._take_up(books, "between the candles")
            self._apply(books)
            for book in books:
                if book.symbol in concerned:
                    for leg in book.legs:
                        self._rest_exits(book, leg)
                wanted = book.symbol in concerned or self._is_worked_on(book)
                if wanted and not self._reconciler.was_stopped(book.symbol):
                    self._reconciler.carry_out(book)
        except (Refused, Unreachable) as failure:  # what is not carried out yet is at the next look
            self._reconciler.log("alert", what="not_carried_out", text=str(failure))
        self._save()
        self.answer()

    def answer(self) -> None:
        """Write the answers of the commands that the saved state includes."""
        legs = list(_legs(self._books()))
        for number, content in list(self._works.items()):
            if self._has_come_to_an_end(content, legs):
                del self._works[number]
                self._answers[number] = content | {"state": "done"}
        for number, answer in list(self._answers.items()):
            self._write(number, answer)
            self._take_away(number)
            del self._answers[number]

    # --- files

    def _waiting(self) -> list[Path]:
        """Return the files of commands, in the order in which they were given."""
        if not self._folder.is_dir():
            return []
        names = (path for path in self._folder.glob("*.json") if not path.name.endswith(ANSWER))
        return sorted((path for path in names if path.name not in self._left_alone), key=_given)

    def _write(self, number: str, answer: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a name too long for an answer
            write_whole(self._folder / f"{number}{ANSWER}", answer)

    def _take_away(self, number: str) -> None:
        """Remove the file of a command; what is none and cannot be removed is left alone from now on."""
        path = self._folder / f"{number}.json"
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._left_alone.add(path.name)

    def _forget_answers(self) -> None:
        """Remove the answers of long ago."""
        if self._folder.is_dir():
            for path in sorted(self._folder.glob(f"*{ANSWER}"), key=_given)[:-_REMEMBERED]:
                path.unlink(missing_ok=True)

    def _commands(self) -> list[_Waiting]:
        """Return what waits: what was taken up by a process before in the order of its journal, then the files."""
        found = {one.command.id: one for one in self._lost}
        for path in self._waiting():
            name = path.name.removesuffix(".json")
            if name in found:
                continue
            try:
                command = read_command(text_of(path), self._symbols)
                if command.id != name or not ID.fullmatch(name):
                    raise ValueError("its id is not its name")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                self._reconciler.log("command", id=name, refused=str(error))
                self._answers[name] = {"id": name, "at": self._now(), "answered": self._now(), "state": "refused",
                                       "text": str(error)}  # fmt: skip
                continue
            if (self._folder / f"{name}{ANSWER}").exists():  # given once more after it was answered
                self._take_away(name)
            else:
                found[name] = _Waiting(command, None)
        return list(found.values())

    def _now(self) -> str:
        return iso(self._reconciler.executor.connection.clock.now())

    # --- what is done

    def _take_up(self, books: Sequence[Book], when: str) -> set[str]:
        """Take up all commands that wait, and return the symbols that they concern."""
        concerned: set[str] = set()
        for command, journaled in self._commands():
            if command.id in self._done:
                answer = self._works.get(command.id) or _answer(command, self._now(), "done before a restart")
                self._answers[command.id] = {"state": "done"} | answer
                continue
            legs = [(book, leg) for book, leg in _legs(books) if command.covers(book.symbol, leg.side)]
            leaves = _leaves(command, legs) if journaled is None else journaled
            self._note(command, leaves)
            text = self._act(command, legs, leaves)
            self._done.append(command.id)
            answer = _answer(command, self._now(), f"{text} ({when})") | {"state": "works"}
            self._works[command.id] = answer
            self._answers[command.id] = answer
            self._reconciler.log(
                "command", id=command.id, action=str(command.action), scope=command.scope, by=command.by,
                given=command.at, text=text,
            )  # fmt: skip
            concerned |= {book.symbol for book, _ in legs}
        self._lost.clear()
        return concerned

    def _note(self, command: Command, leaves: Leaves) -> None:
        self._reconciler.journal.write([{"orders": [], "command": command.__dict__, "leaves": leaves}])

    def _act(self, command: Command, legs: Sequence[tuple[Book, Leg]], leaves: Leaves) -> str:
        """Carry a command out on the books, and return what was done."""
        if command.action is Action.RESUME:
            return self._resume(command, legs)
        if command.action is Action.RESYNC:
            return "orders and trades are read again, what was missing is placed; the next close compares positions"
        entries = sum(leg.entry_count for _, leg in legs)
        if command.action is Action.CANCEL:
            for book, leg in legs:
                _cancel_entries(book, leg)
            return f"{entries} entries are cancelled"
        if self._pauses.get(command.scope, {}).get("action") != Action.TAKE_OUT:  # which is the stronger one
            self._pauses[command.scope] = {
                "id": command.id, "by": command.by, "at": command.at, "action": str(command.action),
            }  # fmt: skip
        if command.action is not Action.FLATTEN:
            return f"paused, {entries} entries are cancelled; exits and stops stay"
        closes = []
        for book, leg in legs:
            name = _leg_name(book, leg)
            self._release(name)
            closing = self._closing[name] = Closing(command.id, self._now(), leaves[name], command.limit)
            if leg.tracker.ids:
                goes = leg.tracker.qty - sum(map(closing.left_of, leg.tracker.ids, leg.tracker.qtys))
                closes.append(f"{name} {goes:g} of {leg.tracker.qty:g}")
        how = "" if command.limit is None else f" by exits at {command.limit or 'the best price'}"
        what = ", ".join(closes) or "nothing: flat already"
        return f"closing {what}{how}; paused, {entries} entries are cancelled"

    def _resume(self, command: Command, legs: Sequence[tuple[Book, Leg]]) -> str:
        """Lift the pauses in a scope; one that takes a symbol out is lifted by resuming this very symbol."""
        inside = [
            scope
            for scope, pause in self._pauses.items()
            if holds(command.scope, scope) and (pause["action"] != Action.TAKE_OUT or scope == command.scope)
        ]
        for scope in inside:
            del self._pauses[scope]
        for book, leg in legs:
            self._release(_leg_name(book, leg))
            self._reconciler.differs.discard((book.symbol, leg.side))
        left = [scope for scope in self._pauses if any(is_in_scope(scope, book.symbol, leg.side) for book, leg in legs)]
        return f"lifted: {', '.join(inside) or 'nothing'}" + (f"; still paused by {', '.join(left)}" if left else "")

    def _release(self, name: str) -> None:
        """Close a leg no further; exits that rest at a person's price are the strategy's again at its next decision."""
        closing = self._closing.pop(name, None)
        if closing is not None and closing.limit is not None:
            self._released[name] = closing

    def _apply(self, books: Sequence[Book]) -> None:
        """Make the books obey: entries of paused legs go, and legs that are to be closed are."""
        for book, leg in _legs(books):
            leg.leg.paused = self._reason(book, leg)
            if leg.leg.paused:
                _cancel_entries(book, leg)
            if leg.leg.paused == PAUSED:
                self._cancel_own_entries(book, leg)
            name = _leg_name(book, leg)
            if (closing := self._closing.get(name)) is None:
                continue
            if closing.limit is None:
                closing.close(book, leg)
            if closing.is_done(leg) and self._is_quiet(book, leg):
                self._release(name)
                self._reconciler.log("command", id=closing.id, flat=name, scope=name, since=closing.since)

    def _reason(self, book: Book, leg: Leg) -> int:
        """Return the `Blocked` code for which a leg adds nothing, PLACED if it may."""
        if any(is_in_scope(scope, book.symbol, leg.side) for scope in self._pauses):
            return PAUSED
        return MISMATCH if (book.symbol, leg.side) in self._reconciler.differs else PLACED

    def _cancel_own_entries(self, book: Book, leg: Leg) -> None:
        """Cancel the orders by which a strategy of the user's own adds to a leg; it is told at the next bar."""
        orders = self._reconciler.orders.of(book.symbol, leg.side, Purpose.OPEN)
        self._reconciler.order_sync.cancel([order for order in orders if order.status is OrderStatus.OPEN])

    def _rest_exits(self, book: Book, leg: Leg) -> None:
        closing = self._closing.get(_leg_name(book, leg))
        if closing is not None and closing.limit is not None:
            closing.rest_exits(book, leg, closing.limit)

    # --- whether it is done

    def _is_worked_on(self, book: Book) -> bool:
        """Return whether entries of a paused leg are still to go, or a leg is still to be closed at market."""
        for leg in book.legs:
            closing = self._closing.get(_leg_name(book, leg))
            if closing is not None and closing.limit is None:
                return True
            if leg.leg.paused == PAUSED and self._entries(book, leg):
                return True
        return False

    def _has_come_to_an_end(self, content: Mapping[str, Any], legs: Sequence[tuple[Book, Leg]]) -> bool:
        """Return whether nothing is left to do for a command; what was resumed meanwhile is over."""
        if content["action"] not in (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN):
            return True
        if any(one.id == content["id"] for one in self._closing.values()):
            return False
        scope = content["scope"]
        return all(
            leg.leg.paused != PAUSED or not self._entries(book, leg)
            for book, leg in legs
            if is_in_scope(scope, book.symbol, leg.side)
        )

    def _entries(self, book: Book, leg: Leg) -> list[Order]:
        """Return the entries that may still be filled, or whose trades may still be on their way."""
        orders = self._reconciler.orders.of(book.symbol, leg.side)
        return [order for order in orders if order.key.purpose.opens and not order.is_settled]

    def _is_quiet(self, book: Book, leg: Leg) -> bool:
        """Return whether nothing that was executed is still to be booked and no entry can be filled any more."""
        unbooked = Unbooked(self._reconciler.unbooked, book.symbol).change(leg.side)
        return abs(unbooked) <= LOT_NOISE and not self._entries(book, leg)


def _answer(command: Command, now: str, text: str) -> dict[str, Any]:
    return {**command.__dict__, "answered": now, "text": text}


def _from_journal(record: Mapping[str, Any]) -> _Waiting:
    content = record["command"]
    leaves = {leg: leave_from_json(one) for leg, one in record["leaves"].items()}
    return _Waiting(Command(**content | {"action": Action(content["action"])}), leaves)


def _leaves(command: Command, legs: Sequence[tuple[Book, Leg]]) -> Leaves:
    """Return what of each fill shall stay when a command is carried out; empty if it closes nothing."""
    if command.action is not Action.FLATTEN:
        return {}
    return {
        _leg_name(book, leg): what_stays(
            dict(zip(leg.tracker.ids, leg.tracker.qtys, strict=True)), command.share, book.market.step,
            book.market.min_qty, whole=command.limit is not None,
        )
        for book, leg in legs
    }  # fmt: skip


def _legs(books: Sequence[Book]) -> Sequence[tuple[Book, Leg]]:
    return [(book, leg) for book in books for leg in book.legs]


def _cancel_entries(book: Book, leg: Leg) -> None:
    if leg.entry_count:
        leg.cancel_entries()
        book.orders_changed()


def _leg_name(book: Book, leg: Leg) -> str:
    return f"{book.symbol} {leg.side.name}"


def _given(path: Path) -> tuple[int, str]:
    try:
        return path.lstat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name
