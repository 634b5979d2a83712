"""Orders of this product that are not the bot's: of another bot on the account, or of one whose state is lost."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.account_queries import RawAnswer
from gridv4_bt.live.executor import Executor
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.live.own_orders import Order
from gridv4_bt.live.reconciliation import Reconciler

#: What a session may do about them at its start.
REFUSE, ADOPT, CANCEL = CHOICES = ("refuse", "adopt", "cancel")
_HISTORY_MS = 6 * DAY_MS  # the exchange lists the orders of a week
#: Generations skipped after those that the exchange still knows: it forgets cancelled orders after three days.
_FORGOTTEN_GENERATIONS = 1_000


class Stranger(NamedTuple):
    """An open order of another bot of this product."""

    bot: str
    order: Order


def open_strangers(
    query: Callable[[str], dict[str, RawAnswer]], names: set[str], symbols: Sequence[str]
) -> list[Stranger]:
    """Return the open orders of this product that belong to none of the named bots; `query` lists those of a symbol."""
    found = []
    for symbol in symbols:
        for order_id, info in query(symbol).items():
            name = parse_id(order_id)
            if name is not None and name.bot not in names:
                found.append(Stranger(name.bot, Order.at_exchange(symbol, name, order_id, info)))
    return found


def describe(strangers: Sequence[Stranger]) -> str:
    """Return how many orders which bots have."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for one in strangers:
        counts[one.bot, one.order.key.symbol] += 1
    return ", ".join(f"{count} of bot {bot} for {symbol}" for (bot, symbol), count in counts.items())


def refuse(strangers: Sequence[Stranger]) -> None:
    """Refuse to start beside them.

    Raises
    ------
    ConfigError
        There are any.
    """
    if strangers:
        raise ConfigError(
            f"the account has open orders of this product that are not this bot's: {describe(strangers)}. Another bot "
            "may be running there, or this state directory is not the one it had. Stop that bot or give its "
            "--state-dir; or --foreign-orders adopt (go on as that bot: its stops stay, its entries and exits are "
            "replaced) or cancel (cancel them; stops of legs that are held stay)"
        )


def last_bot(ids: Sequence[str]) -> str | None:
    """Return the bot of the last of its ids in a journal, None if there is none."""
    names = [name for one in ids if (name := parse_id(one)) is not None]
    return names[-1].bot if names else None


def last_generation(executor: Executor, bots: set[str], symbols: Sequence[str], journaled: Sequence[str]) -> int:
    """Return a generation that no order of the bots has reached, by the journal and all that the exchange knows."""
    since = executor.connection.clock.now() - _HISTORY_MS
    ids = list(journaled)
    for symbol in symbols:
        ids += [str(row["clientOrderId"]) for row in executor.all_orders(symbol, since)]
        ids += [str(row["clientAlgoId"]) for row in executor.conditional_orders(symbol)]
    names = [name for one in ids if (name := parse_id(one)) is not None and name.bot in bots]
    return max((name.generation for name in names), default=0) + _FORGOTTEN_GENERATIONS


def cancel_strangers(reconciler: Reconciler, strangers: Sequence[Stranger]) -> None:
    """Cancel them; a stop of a leg that is held is taken over instead."""
    executor = reconciler.executor
    held = {leg for leg, position in executor.all_positions().items() if position.qty > 0.0}
    for _, order in strangers:
        if order.key.purpose is Purpose.STOP and (order.key.symbol, order.key.side) in held:
            reconciler.orders.add(order)
        else:
            executor.cancel(order)
