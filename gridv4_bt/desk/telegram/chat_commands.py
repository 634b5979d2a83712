"""The commands that the Telegram bot understands: help, Telegram's own list and the documentation are made of this."""

from dataclasses import dataclass

from gridv4_bt.live.command_files import Action


@dataclass(frozen=True)
class ChatCommand:
    """One command."""

    name: str
    words: str  #: what may follow it
    meaning: str
    action: Action | None = None  #: what a bot is asked to do; None: it only reads


#: In the order of the help.
CHAT_COMMANDS = (
    ChatCommand("status", "[BOT]", "both legs: size, entry, unrealised, levels filled, distance of the liquidation"),
    ChatCommand("profit", "[BOT]", "profit in five parts"),
    ChatCommand("daily", "[BOT] [N]", "profit of the last days (UTC)"),
    ChatCommand("weekly", "[BOT] [N]", "profit of the last weeks"),
    ChatCommand("monthly", "[BOT] [N]", "profit of the last months"),
    ChatCommand("balance", "[BOT]", "wallet, equity, margin, exposure"),
    ChatCommand("orders", "[BOT] [SYMBOL]", "open orders, and why levels have none"),
    ChatCommand("fills", "[BOT] [N]", "the latest executions"),
    ChatCommand("risk", "[BOT]", "liquidation, margin, value at risk, caps, what may be lost before fills are cut"),
    ChatCommand("health", "", "whether every bot decides, and where exchange and bot have differed"),
    ChatCommand("logs", "[BOT] [N]", "the latest alerts, failures, commands, starts and ends"),
    ChatCommand("equity", "[BOT]", "picture of the equity and the drawdown"),
    ChatCommand("ladder", "[BOT] [SYMBOL]", "picture of the price, the levels, entries and stops"),
    ChatCommand("pause", "[BOT] [SYMBOL [LEG]]", "no entries; exits and stops stay", Action.PAUSE),
    ChatCommand("resume", "[BOT] [SYMBOL [LEG]]", "lift the pauses there", Action.RESUME),
    ChatCommand("close", "[BOT] SYMBOL [LEG] [50%]", "close at market and pause, after a button", Action.FLATTEN),
    ChatCommand("cancel", "[BOT] [SYMBOL [LEG]]", "cancel the entries; the next decision places them", Action.CANCEL),
    ChatCommand("takeout", "[BOT] SYMBOL", "pause a symbol until this very symbol is resumed", Action.TAKE_OUT),
    ChatCommand("resync", "[BOT]", "read orders and trades again, place what is missing", Action.RESYNC),
    ChatCommand("version", "", "the version of this program"),
    ChatCommand("help", "", "this list"),
)
BY_NAME = {one.name: one for one in CHAT_COMMANDS}


def usage(command: ChatCommand) -> str:
    """Return how a command is written."""
    return f"/{command.name} {command.words}".rstrip()
