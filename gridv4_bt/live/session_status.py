"""What the files of a state directory tell of its session. It only reads, also while the bot writes."""

import csv
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gridv4_bt.core.regime import Regime

_ROW = 4_096  # bytes of the end of equity.csv read for each symbol, more than a dozen rows
_TAIL = 65_536  # bytes read of the end of a file, in which its last lines are
AUDIT = "audit.json"  #: what the latest daily audit has found
FROZEN_S = 90.0  #: without a sign of life a bot is frozen; the longest it is busy at a close is some 20 seconds
_LOCKS = Path("/proc/locks")


def read_status(folder: Path, max_age: float) -> dict[str, Any]:
    """Return what a state directory tells of its session; `max_age` in minutes.

    `pid` is None where no process holds the directory; where that cannot be known it is None too, and age decides.
    """
    beat = json.loads((folder / "heartbeat.json").read_text(encoding="utf-8"))
    age = max(time.time() - beat["at"], 0.0)
    pid = holder(folder / "lock")
    silent = silence(folder, beat["at"])
    state = read_state(folder)
    rows = _last_rows(folder)
    return {
        "working": age <= 60.0 * max_age and (pid is not None or not _LOCKS.exists()) and silent < FROZEN_S,
        "state_dir": str(folder),
        "place": state.get("place"),
        "bot": state.get("bot"),
        "pid": pid,
        "last_decision_age_s": round(age),
        "silent_s": round(silent),
        "bars": beat.get("bars"),
        "adding": beat.get("adding"),
        "equity": beat.get("equity"),
        "symbols": rows,
        "last_alert": _last_alert(folder / "events.jsonl"),
    }


def silence(folder: Path, decided: float) -> float:
    """Return for how many seconds a bot has given no sign of life: it renews its lock file every 20 seconds.

    Parameters
    ----------
    decided : when it has decided last, seconds since the epoch. A lock file that is a minute older is not renewed: it
        is an older program's, or its system's file times are off; 0 then.
    """
    try:
        renewed = (folder / "lock").stat().st_mtime
    except OSError:
        return 0.0
    return max(time.time() - max(renewed, decided), 0.0) if renewed > decided - 60.0 else 0.0


def holder(lock: Path) -> int | None:
    """Return the process that holds a lock file, of those that this machine shows."""
    if not _LOCKS.exists() or not lock.exists():
        return None
    inode = f":{lock.stat().st_ino}"
    for line in _LOCKS.read_text(encoding="ascii").splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].endswith(inode):
            return int(words[4])
    return None


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state saved last, without looking at its checksum; empty where it cannot be read."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def last_lines(path: Path, reach: int = _TAIL) -> list[str]:
    """Return the whole lines in the last `reach` bytes of a text file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - reach, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return lines[0 if size <= reach else 1 : -1]


def lines_back(path: Path, most: int | None = None, block: int = _TAIL) -> Iterator[bytes]:
    """Yield the whole lines of a text file from its last one back; none where there is no file.

    Parameters
    ----------
    most : how much of the file's end is read at most, bytes; None: all of it.
    """
    pieces = _pieces_back(path, most, block)
    next(pieces, None)  # what follows the last newline is still being written
    yield from pieces


def _pieces_back(path: Path, most: int | None, block: int) -> Iterator[bytes]:
    """Yield what stands between newlines, from the end back."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        end = file.seek(0, 2)
        first = 0 if most is None else max(end - most, 0)
        rest = b""  # the end of a line that begins further up
        while end > first:
            begin = max(end - block, first)
            file.seek(begin)
            rest, *lines = (file.read(end - begin) + rest).split(b"\n")
            end = begin
            yield from reversed(lines)
        if first == 0:
            yield rest


def equity_rows(path: Path, reach: int = _TAIL) -> list[dict[str, str]]:
    """Return the whole rows in the last `reach` bytes of an equity.csv by column, oldest first; none without a file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        columns = file.readline().strip().split(",")
    found = csv.DictReader(last_lines(path, reach), columns)
    return [row for row in found if None not in row and None not in row.values() and row["time"] != "time"]


def events_of(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """Yield the events of lines of JSON; what is none is left out."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _last_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return of each symbol what the last row of equity.csv says; a session of one symbol has no name there."""
    symbols = [one.name.removeprefix("candles-").removesuffix(".csv") for one in sorted(folder.glob("candles-*.csv"))]
    found: dict[str, dict[str, Any]] = {}
    for row in reversed(equity_rows(folder / "equity.csv", _ROW * max(len(symbols), 2))):
        name = row.get("symbol") or (symbols[0] if symbols else "")
        if name in found:
            continue
        found[name] = {
            "bar": row["time"],
            "regime": _regime(row["regime"]),
            "halted": row["halted"] not in ("0", "0.0", "False", "false"),
            "long_qty": float(row["long_qty"]),
            "short_qty": float(row["short_qty"]),
            "resting_orders": int(float(row["resting_orders"])),
            "margin_ratio": float(row["margin_ratio"]),
        }
    return found


def _regime(text: str) -> str:
    try:
        return Regime(int(float(text))).name
    except ValueError:
        return text


def _last_alert(path: Path) -> str | None:
    lines = (line for line in lines_back(path, _TAIL) if b'"alert"' in line)
    for event in events_of(lines):
        if event.get("kind") == "alert":
            return f"{event.get('at')} {event.get('what')}"
    return None
