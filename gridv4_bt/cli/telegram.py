"""The command line of `gridv4 telegram`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

MEMORY = Path("data/desk/telegram.json")


def run_telegram(
    place: Annotated[
        list[Path],
        typer.Argument(help="State directories of bots, or folders of them; default data.", show_default=False),
    ] = [],
    memory: Annotated[
        Path, typer.Option(help="File of what was told, so that a restart tells nothing twice.")
    ] = MEMORY,
) -> None:
    """Watch and steer bots from Telegram: the desk's readings and commands, risk at once, digests.

    The token and who is allowed come from the environment or the file .env: GRIDV4_TELEGRAM_TOKEN,
    GRIDV4_TELEGRAM_CHATS, GRIDV4_TELEGRAM_USERS. Like the desk it reads the state directories and never asks the
    exchange; no port is opened. `gridv4 desk --telegram` does the same beside the page. Ctrl-C ends it.
    """
    from gridv4_bt.desk.state_dirs import StateDirs
    from gridv4_bt.desk.telegram.service import Service, until_signal
    from gridv4_bt.desk.telegram.telegram_settings import read_telegram_settings

    settings = read_telegram_settings(Path())
    bots = StateDirs(place or [Path("data")])
    log_to_stderr()
    until_signal(Service(bots, settings, memory))


def log_to_stderr() -> None:
    """Let the Telegram bot's log lines go to stderr."""
    log = logging.getLogger("gridv4.telegram")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
