"""The command line of `gridv4 status`."""

import csv
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.core.regime import Regime
from gridv4_bt.errors import ConfigError

NOT_WORKING = 1  #: exit code
#: Where `gridv4 live` keeps its state, in the order in which it is looked for.
FOLDERS = ("live_state", "demo_state", "local_state", "paper_state")
_TAIL = 65_536  # bytes read of the end of a file, in which its last lines are
_LOCKS = Path("/proc/locks")


def show_status(
    state_dir: Annotated[
        Path | None,
        typer.Option(help="A --state-dir of gridv4 live; default the first of data/live_state, demo, local, paper."),
    ] = None,
    max_age: Annotated[float, typer.Option(help="Minutes after which the last decision is too old.", min=0)] = 20.0,
    as_json: Json = False,
) -> None:
    """Say how a session is: whether it works, what it has decided last, what it holds.

    It only reads files, and may be asked at any time. Exit codes: 0 it works, 1 it does not (no process holds the state
    directory, or the last decision is too old), 2 there is no session.
    """
    folder = state_dir or next((one for name in FOLDERS if (one := Path("data") / name).is_dir()), None)
    if folder is None or not (folder / "heartbeat.json").is_file():
        raise ConfigError(f"{folder or 'data'}: no session has decided there; name its --state-dir")
    found = read_status(folder, max_age)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            if value is not None:
                print(f"{name.replace('_', ' ')}: {_text(value)}")
    if not found["working"]:
        raise typer.Exit(NOT_WORKING)


def read_status(folder: Path, max_age: float) -> dict[str, Any]:
    """Return what a state directory tells of its session; `max_age` in minutes.

    `pid` is None where no process holds the directory; where that cannot be known it is None too, and age decides.
    """
    beat = json.loads((folder / "heartbeat.json").read_text(encoding="utf-8"))
    age = max(time.time() - beat["at"], 0.0)
    pid = _holder(folder / "lock")
    state = _state(folder)
    rows = _last_rows(folder)
    return {
        "working": age <= 60.0 * max_age and (pid is not None or not _LOCKS.exists()),
        "state_dir": str(folder),
        "place": state.get("place"),
        "bot": state.get("bot"),
        "pid": pid,
        "last_decision_age_s": round(age),
        "bars": beat.get("bars"),
        "adding": beat.get("adding"),
        "equity": beat.get("equity"),
        "symbols": rows,
        "last_alert": _last_alert(folder / "events.jsonl"),
    }


def _holder(lock: Path) -> int | None:
    """Return the process that holds a lock file, of those that this machine shows."""
    if not _LOCKS.exists() or not lock.exists():
        return None
    inode = f":{lock.stat().st_ino}"
    for line in _LOCKS.read_text(encoding="ascii").splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].endswith(inode):
            return int(words[4])
    return None


def _state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _tail(path: Path) -> list[str]:
    """Return the last whole lines of a text file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return lines[0 if size <= _TAIL else 1 : -1]


def _last_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return of each symbol what the last row of equity.csv says; a session of one symbol has no name there."""
    path = folder / "equity.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as file:
        columns = file.readline().strip().split(",")
    symbols = [one.name.removeprefix("candles-").removesuffix(".csv") for one in sorted(folder.glob("candles-*.csv"))]
    found: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(_tail(path), columns):
        if None in row or None in row.values() or row["time"] == "time":
            continue
        name = row.get("symbol") or (symbols[0] if symbols else "")
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
    if not path.is_file():
        return None
    for line in reversed(_tail(path)):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("kind") == "alert":
            return f"{event.get('at')} {event.get('what')}"
    return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "".join(
            f"\n  {name or 'symbol'}: " + ", ".join(f"{key.replace('_', ' ')} {_text(one)}" for key, one in row.items())
            for name, row in value.items()
        )
    return f"{value:,}" if isinstance(value, int | float) else str(value)
