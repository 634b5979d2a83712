"""What systemd is told of a bot that it runs: that it is ready, that it lives, that it ends."""

import os
import socket

from gridv4_bt.live.clock import Clock

SECONDS = 60.0  #: between two signs of life; WatchdogSec of the unit is a few of them


def tell(state: str) -> None:
    """Send a state such as ``READY=1`` to systemd; without it, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            notify.send(state.encode())
        except OSError:  # the bot does not end because nobody listens
            pass


def report_life(clock: Clock) -> None:
    """Tell systemd that the bot is ready, and from now on that it lives, as long as it does what it waits for."""
    tell("READY=1")
    clock.every(SECONDS, lambda: tell("WATCHDOG=1"), in_pauses=True)
