"""What has been paid into a bot's wallet and out of it: neither profit nor drawdown."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.time import BAR_MS, time_ms
from gridv4_bt.desk.bot_files import BotFiles

_ALL = 10_000  # transfers read at most
_NOISE = 0.005  # quote


def transfers(bot: BotFiles) -> list[tuple[int, float]]:
    """Return each transfer, oldest first: open time (ms) of the first bar that has it, and amount, quote.

    What was paid out is below zero. The bot takes over what trades and funding do not explain, some bars after it was
    paid. As long as all together are nothing, which is seen at once, the record is not looked through for them.
    """
    account = (bot.state().get("broker") or {}).get("account")
    first = bot.first_wallet()
    if account is None or (first is not None and abs(account["start"] - first) < _NOISE):
        return []
    _, found = bot.transfers.page(0, _ALL)
    times = [time_ms(datetime.fromisoformat(one["clock"])) // BAR_MS * BAR_MS - BAR_MS for one in found]
    return [(time, one["difference"]) for time, one in zip(times, found, strict=True)][::-1]


def net_of_transfers(bot: BotFiles) -> NDArray[np.float64]:
    """Return the recorded equity less all that was paid in since the start, quote."""
    times, equity = bot.curve()
    net = equity.copy()
    for time, amount in transfers(bot):
        net[np.searchsorted(times, time) :] -= amount
    return net
