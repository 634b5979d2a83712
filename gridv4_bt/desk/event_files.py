"""The events of a bot, read from the latest back: events.jsonl and its older files, events.jsonl.1 being the next."""

from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from gridv4_bt.core.time import BAR_MS, DAY_MS, iso, time_ms
from gridv4_bt.live.session_status import events_of, lines_back

_MOST = 4_000_000  # bytes looked through in each of the two latest files, for what happened lately
_OLDER = 5  # files beside the one that grows
_AFTER = 1_000  # events after a decision looked through for those of its bar


def latest_events(folder: Path, kinds: Collection[str] = (), since: str = "") -> Iterator[dict[str, Any]]:
    """Yield the latest events, newest first.

    Parameters
    ----------
    kinds : of which kinds; empty: of all.
    since : the bot's time before which none are yielded, ISO 8601.
    """
    marks = [_mark(kind) for kind in kinds]
    for path in _files(folder)[:2]:  # the latest one may have been begun a moment ago
        for line in lines_back(path, _MOST):
            if since and _clock(line) < since:
                return
            if not marks or any(mark in line for mark in marks):
                yield from (one for one in events_of([line]) if not kinds or one.get("kind") in kinds)


def decision(folder: Path, symbol: str, bar: str | None = None) -> dict[str, Any] | None:
    """Return what was decided for a symbol at a bar, by its open time, or the latest; None if it is not known."""
    if bar is None:
        found = (one for one in latest_events(folder, ["decision"]) if _is_of(one, symbol))
        return next(found, None)
    place = _place(folder, symbol, bar)
    return next(events_of([_line_at(*place)]), None) if place else None


def events_of_bar(folder: Path, symbol: str, bar: str) -> list[dict[str, Any]]:
    """Return what happened after the decision of a bar until the symbol's next one, in the decision's file."""
    place = _place(folder, symbol, bar)
    if place is None:
        return []
    data, at = place
    end = at
    for _ in range(_AFTER):
        end = data.find(b"\n", end) + 1
        if end == 0:
            end = len(data)
            break
        line = _line_at(data, end)
        if _mark("decision") in line and any(_is_of(one, symbol) for one in events_of([line])):
            break
    return list(islice(events_of(data[at:end].split(b"\n")), 1, None))


def _place(folder: Path, symbol: str, bar: str) -> tuple[bytes, int] | None:
    """Return the file that holds the decision of a bar, and where its line begins; None if none does."""
    wanted = f'"bar": "{bar}"'.encode()
    time = time_ms(datetime.fromisoformat(bar))
    closed, late = iso(time + BAR_MS), iso(time + DAY_MS)  # a bar is decided soon after its close
    for path in _files(folder):
        with path.open("rb") as file:
            first = _clock(file.readline())
            if first > late:
                continue
            file.seek(0)
            data = file.read()
        at = data.find(wanted)
        while at >= 0:
            begin = data.rfind(b"\n", 0, at) + 1
            if any(_is_of(one, symbol) and one["bar"] == bar for one in events_of([_line_at(data, begin)])):
                return data, begin
            at = data.find(wanted, at + 1)
        if first <= closed:
            break
    return None


def _files(folder: Path) -> list[Path]:
    """Return the files that there are, the latest first."""
    names = ["events.jsonl", *(f"events.jsonl.{number + 1}" for number in range(_OLDER))]
    return [folder / name for name in names if (folder / name).is_file()]


def _line_at(data: bytes, begin: int) -> bytes:
    end = data.find(b"\n", begin)
    return data[begin : end if end >= 0 else len(data)]


def _mark(kind: str) -> bytes:
    return f'"kind": "{kind}"'.encode()


def _clock(line: bytes) -> str:
    """Return the bot's time of an event without reading all of it; "" if it has none."""
    begin = line.find(b'"clock": "')
    return line[begin + 10 : line.find(b'"', begin + 10)].decode("ascii", "replace") if begin >= 0 else ""


def _is_of(event: dict[str, Any], symbol: str) -> bool:
    return event.get("kind") == "decision" and event.get("symbol") == symbol and "bar" in event
