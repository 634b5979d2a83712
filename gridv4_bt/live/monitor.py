"""Monitoring: alerts to a person, a heartbeat for a watchdog, the figures that `prometheus.py` serves.

docs/live.md explains each alert and what to do about it.
"""

import json
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.private_files import write_private

#: Environment variable with the Apprise addresses to notify, separated by blanks; they may contain secrets.
NOTIFY = "GRIDV4_NOTIFY"
_REPEAT_S = 3_600.0  # seconds before an alert of the same kind and symbol is sent again
_CALLS_WATCHED = 200
_SEND_S = 15.0  # longest wait for messages that are still being sent at the end
_ALERTS = {
    "candle_late": "stale_candle", "candle_missing": "stale_candle", "candles_missing": "stale_candle",
    "trades_late": "desync", "leg_in_doubt": "desync", "stray_order": "desync",
    "dead_man_fired": "dead_man_fired",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The limits beyond which an alert is sent."""

    drawdown: float = 0.10  #: fraction of the highest equity
    margin_ratio: float = 0.5  #: maintenance margin / equity
    liquidation: float = 0.10  #: distance to the nearest liquidation price, fraction of the price
    error_rate: float = 0.2  #: share of failed requests among the latest


class Monitor:
    """The monitor of one session.

    Parameters
    ----------
    notify : called with title and text of each alert; see `notifier`.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        notify: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / "heartbeat.json"
        self._limits = limits
        self._notify = notify
        self._monotonic = monotonic
        self._sent: dict[tuple[str, str, str], float] = {}
        self._peak = 0.0
        self._calls: deque[tuple[int, int]] = deque(maxlen=_CALLS_WATCHED)
        self.figures: dict[str, float] = {}  #: of the latest bar, by name
        self.of_symbols: dict[str, dict[str, float]] = {}  #: the figures of each symbol's latest bar
        self.fills: Counter[tuple[str, str]] = Counter()  #: executions since the start, by symbol and positionSide
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []  #: called with kind and fields of each event
        self.alerts = 0

    def event(self, kind: str, **fields: Any) -> None:
        """Send an alert if an event calls for one."""
        if kind == "fill":
            self.fills[fields["symbol"], fields["side"]] += 1
        for listen in self.listeners:
            listen(kind, fields)
        if kind == "alert":
            self.alert(fields.pop("what"), **fields)
        elif kind in _ALERTS:
            self.alert(_ALERTS[kind], event=kind, **fields)

    def alert(self, what: str, **fields: Any) -> None:
        """Send an alert, unless one of the same kind and symbol, and bar if it names one, was sent in the last hour."""
        key = (what, str(fields.get("symbol", "")), str(fields.get("bar", "")))
        now = self._monotonic()
        if now - self._sent.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        self._sent[key] = now
        self.alerts += 1
        text = ", ".join(f"{name} {value}" for name, value in fields.items())
        self._notify(f"GridStrategyV4: {what.replace('_', ' ')}", text or what)

    def bar(self, symbol: str, row: Mapping[str, float], calls: int, failures: int) -> None:
        """Update the figures by a decided bar of a symbol and send the alerts they call for.

        Parameters
        ----------
        row : one row of equity.csv by column.
        calls, failures : requests so far, and those that failed.
        """
        limits = self._limits
        equity = row["equity"]
        self._peak = max(self._peak, equity)
        drawdown = 1.0 - equity / self._peak if self._peak > 0.0 else 1.0
        distance = min(row["liquidation_down"], row["liquidation_up"])
        self._calls.append((calls, failures))
        asked = calls - self._calls[0][0]
        error_rate = (failures - self._calls[0][1]) / asked if asked >= 20 else 0.0
        self.figures = {
            "equity": equity, "wallet": row["wallet"], "unrealized": row["unrealized"], "drawdown": drawdown,
            "long_qty": row["long_qty"], "short_qty": row["short_qty"], "margin_ratio": row["margin_ratio"],
            "liquidation_distance": distance, "resting_orders": row["resting_orders"], "regime": row["regime"],
            "halted": row["halted"], "bar_time_seconds": row["time"] / 1000.0, "requests": calls,
            "failed_requests": failures, "alerts": self.alerts,
        }  # fmt: skip
        self.of_symbols[symbol] = self.figures
        if drawdown > limits.drawdown:
            self.alert("drawdown", drawdown=f"{drawdown:.1%}", equity=round(equity, 2))
        if row["margin_ratio"] > limits.margin_ratio:
            self.alert("margin", ratio=f"{row['margin_ratio']:.2f}")
        if distance < limits.liquidation:
            self.alert("liquidation_near", distance=f"{distance:.1%}")
        if error_rate > limits.error_rate:
            self.alert("error_rate", rate=f"{error_rate:.0%}")

    def beat(self, **fields: Any) -> None:
        """Write the heartbeat file, whose age shows a watchdog whether the bot is alive."""
        draft = self._path.with_suffix(".tmp")
        write_private(draft, json.dumps({"at": int(time.time())} | fields) + "\n")
        os.replace(draft, self._path)


@contextmanager
def notifier(addresses: str) -> Iterator[Callable[..., None]]:
    """Yield a function that sends a message to all addresses by Apprise, or only logs it if there are none.

    It takes title and text, and as `level` how it is logged: an alert, which a person should look at, as a warning.
    The end waits for messages that are still being sent: the last one says why the bot has stopped.

    Raises
    ------
    ConfigError
        Apprise is not installed or does not understand an address.
    """
    log = logging.getLogger("gridv4.live")
    services = _services(addresses)
    sending: list[threading.Thread] = []

    def notify(title: str, text: str, level: int = logging.WARNING) -> None:
        log.log(level, "%s: %s", title, text)
        for service in services:  # a slow one must not hold up trading, nor another service
            thread = threading.Thread(target=service.notify, kwargs={"title": title, "body": text}, daemon=True)
            thread.start()
            sending[:] = [*filter(threading.Thread.is_alive, sending), thread]

    try:
        yield notify
    finally:
        until = time.monotonic() + _SEND_S
        for thread in sending:
            thread.join(max(until - time.monotonic(), 0.0))


def send_test(addresses: str) -> list[bool]:
    """Send a test message to each address and return which of them have taken it; raises as `notifier`."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would write addresses down
    text = "This address receives the alerts of a bot."
    return [bool(one.notify(title="GridStrategyV4: test", body=text)) for one in _services(addresses)]


def _services(addresses: str) -> list[Any]:
    """Return an Apprise object for each address."""
    if not addresses.split():
        return []
    try:
        import apprise
    except ImportError:
        raise ConfigError(f"{NOTIFY} needs Apprise: pip install 'gridstrategy-v4[live]'") from None
    services = []
    for number, address in enumerate(addresses.split(), start=1):
        service = apprise.Apprise()
        if not service.add(address):
            raise ConfigError(f"{NOTIFY}: Apprise does not understand address number {number}")
        services.append(service)
    return services
