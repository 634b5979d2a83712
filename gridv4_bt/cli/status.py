"""The command line of `gridv4 status`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.session_status import read_status

NOT_WORKING = 1  #: exit code
#: Where `gridv4 live` keeps its state, in the order in which it is looked for.
FOLDERS = ("live_state", "demo_state", "local_state", "paper_state")


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


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "".join(
            f"\n  {name or 'symbol'}: " + ", ".join(f"{key.replace('_', ' ')} {_text(one)}" for key, one in row.items())
            for name, row in value.items()
        )
    return f"{value:,}" if isinstance(value, int | float) else str(value)
