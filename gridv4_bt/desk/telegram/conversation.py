"""What is answered to a person: a reading, a picture, a command that is given, or a sentence that says why not."""

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gridv4_bt.desk import bot_overview
from gridv4_bt.desk.access import COMMANDS
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.telegram.address import Address, Misunderstood, read_address
from gridv4_bt.desk.telegram.chat_commands import BY_NAME, CHAT_COMMANDS, ChatCommand, usage
from gridv4_bt.desk.telegram.giving import Giving, closing_lines, words_of
from gridv4_bt.desk.telegram.pictures import PICTURES
from gridv4_bt.desk.telegram.readings import READINGS, health, stale_words, status
from gridv4_bt.desk.telegram.replies import Asked, Pressed, Reply
from gridv4_bt.desk.telegram.rights import Rights
from gridv4_bt.live.command_files import Action
from gridv4_bt.version import VERSION

CONFIRM_S = 60.0  #: so long a button may be pressed
OLD_S = 180.0  #: a command sent longer ago is not given
_WAITING = 100  # buttons
_CLOSE, _KEEP = "close", "keep"


@dataclass(frozen=True)
class _Pending:
    """A closing that waits for its button."""

    asked: Asked
    bot: str
    scope: str
    share: float
    until: float

    @property
    def words(self) -> str:
        """What is to be closed, as a person says it."""
        return words_of(Action.FLATTEN, self.scope, self.share)


class Conversation:
    """The answers of one Telegram bot.

    Parameters
    ----------
    bots : returns the bots by name.
    now : seconds since the epoch.
    """

    def __init__(
        self,
        bots: Callable[[], dict[str, BotFiles]],
        rights: Rights,
        giving: Giving,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._bots = bots
        self._rights = rights
        self._giving = giving
        self.username = ""  #: of the Telegram bot, which groups put behind a command
        self._now = now
        self._pending: dict[int, _Pending] = {}  # by the update that has asked

    def answer(self, asked: Asked) -> list[Reply]:
        """Return the answers to a message; none to a stranger, and to what is not for this bot."""
        words = asked.text.split()
        if not words or (role := self._rights.role(asked.chat, asked.user)) is None:
            return []
        if not words[0].startswith("/"):
            return [Reply("I understand commands", ["/help lists them"])] if asked.is_private else []
        name, _, to = words[0][1:].partition("@")
        if to and to.lower() != self.username.lower():
            return []
        command = BY_NAME.get("help" if name == "start" else name.lower())
        if command is None:
            near = difflib.get_close_matches(name.lower(), BY_NAME, 1)
            return [Reply(f"/{name[:40]} is no command", [f"did you mean /{near[0]}?" if near else "see /help"])]
        if command.action is not None and role != COMMANDS:
            return [Reply(f"/{command.name}: not given", ["you may read, not command"])]
        try:
            return self._do(command, asked, words[1:])
        except Misunderstood as error:
            return [Reply(usage(command), [str(error)])]

    def press(self, asked: Asked) -> Pressed | None:
        """Return what becomes of a button that was pressed, None if a stranger has pressed it."""
        role = self._rights.role(asked.chat, asked.user)
        if role != COMMANDS:
            return Pressed("you may not command") if role else None
        what, _, number = asked.text.partition(":")
        update = int(number) if number.isdecimal() else 0
        pending = self._pending.get(update)
        if pending is None:
            before = self._giving.before(self._bots(), update)
            words = "given already" if before else "no longer valid: send the command again"
            return Pressed(words, before or Reply("not closed", ["this button is no longer valid: send /close again"]))
        if (pending.asked.chat, pending.asked.user) != (asked.chat, asked.user):
            return Pressed(f"only {pending.asked.name} may confirm this")
        del self._pending[update]
        title = f"{pending.bot}: {pending.words}"
        if self._now() > pending.until:
            words = f"confirmed too late (more than {CONFIRM_S:.0f} s): send /close again"
            return Pressed("too late", Reply(f"{title}: not closed", [words]))
        if what != _CLOSE:
            return Pressed("kept", Reply(f"{title}: not closed", ["as you said"]))
        bot = self._bots().get(pending.bot)
        if bot is None:
            return Pressed("the bot is gone", Reply(f"{title}: not closed", ["its folder is gone"]))
        given = self._giving.give(asked, update, pending.bot, bot, Action.FLATTEN, pending.scope, pending.share)
        return Pressed("given", given)

    # ---

    def _do(self, command: ChatCommand, asked: Asked, words: list[str]) -> list[Reply]:
        bots = self._bots()
        if command.name == "help":
            return [_help(bots)]
        if command.name == "version":
            return [Reply(f"GridStrategyV4 {VERSION}")]
        if command.name == "health":
            return [health(bots)]
        if command.name == "status" and not words and len(bots) > 1:
            return [_with_warning(name, bot, status(Address(name), bot)) for name, bot in bots.items()]
        if command.action is not None and (before := self._giving.before(bots, asked.update)) is not None:
            return [before]  # delivered twice: it is the same command
        address = read_address(words, bots)
        bot = bots[address.bot]
        if command.action is None:
            reading = READINGS.get(command.name) or PICTURES[command.name]
            return [_with_warning(address.bot, bot, reading(address, bot))]
        if asked.age_s > OLD_S:
            old = f"too old ({asked.age_s / 60:.0f} min): send it again"
            return [Reply(f"/{command.name}: not given", [old, "if it stays so, this machine's clock is wrong"])]
        return [self._command(command.action, asked, address, bot)]

    def _command(self, action: Action, asked: Asked, address: Address, bot: BotFiles) -> Reply:
        if action is Action.TAKE_OUT and (address.symbol is None or address.side is not None):
            raise Misunderstood(f"name the symbol, without a leg: {', '.join(bot.symbols()) or 'there is none yet'}")
        if action is not Action.FLATTEN and address.share != 1.0:
            raise Misunderstood("a share is for /close")
        if action is not Action.FLATTEN:
            return self._giving.give(asked, asked.update, address.bot, bot, action, address.scope)
        if address.symbol is None and not address.is_account:
            symbols = ", ".join(bot.symbols())
            raise Misunderstood(f"name what to close: a symbol ({symbols}), its leg (LONG, SHORT), or account")
        pending = _Pending(asked, address.bot, address.scope, address.share, self._now() + CONFIRM_S)
        self._wait_for(pending)
        warning = stale_words(bot_overview.overview(address.bot, bot))
        return Reply(
            f"{address.bot}: {pending.words}?",
            [
                *([warning] if warning else []),
                *closing_lines(bot, address.scope, address.share),
                f"the button is for {asked.name}, for {CONFIRM_S:.0f} seconds",
            ],
            buttons=((f"Yes, {pending.words}", f"{_CLOSE}:{asked.update}"), ("No", f"{_KEEP}:{asked.update}")),
        )

    def _wait_for(self, pending: _Pending) -> None:
        while len(self._pending) >= _WAITING:
            del self._pending[next(iter(self._pending))]
        self._pending[pending.asked.update] = pending


def _with_warning(name: str, bot: BotFiles, reply: Reply) -> Reply:
    """Return a reply that says first that its bot is stale, if it is."""
    words = stale_words(bot_overview.overview(name, bot))
    return replace(reply, lines=[words, *reply.lines]) if words else reply


def _help(bots: Mapping[str, BotFiles]) -> Reply:
    lines = [f"{usage(one)}: {one.meaning}" for one in CHAT_COMMANDS]
    names = f"bots: {', '.join(bots)}. " if bots else ""
    lines.append(f"{names}BOT may be left out if there is one; SYMBOL may be short (BTC); LEG is LONG or SHORT")
    return Reply("commands", lines)
