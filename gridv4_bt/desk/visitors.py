"""Who asks the desk, and for which bot: what each route depends on."""

from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request

from gridv4_bt.desk.access import COMMANDS, COOKIE, CSRF_HEADER, Access, Visitor
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.state_dirs import StateDirs

MOST = 1_000  #: rows of a page


def _visitor(request: Request) -> Visitor:
    """Return who asks, by the token of the request or the session of the browser.

    Raises
    ------
    HTTPException
        401 without either, 429 after too many wrong tokens.
    """
    rights: Access = request.app.state.rights
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        refuse_too_many(rights)
        role = rights.check(token.strip())
        if role is not None:
            return Visitor(role)
    elif (found := rights.visitor(request.cookies.get(COOKIE, ""))) is not None:
        return found
    raise HTTPException(401, "log in, or send Authorization: Bearer TOKEN")


def _anyone(request: Request) -> Visitor | None:
    """Return who asks, None for somebody who shows nothing.

    Raises
    ------
    HTTPException
        401 for a wrong token, 429 after too many.
    """
    shows = "authorization" in request.headers or COOKIE in request.cookies
    return _visitor(request) if shows else None


def _commander(request: Request, visitor: Annotated[Visitor, Depends(_visitor)]) -> Visitor:
    """Return who asks, if they may change something.

    Raises
    ------
    HTTPException
        403 if the token only reads, or if a browser's request does not come from the desk's own page.
    """
    if visitor.role != COMMANDS:
        raise HTTPException(403, "this token only reads")
    if visitor.session and request.headers.get(CSRF_HEADER) != visitor.csrf:
        raise HTTPException(403, f"the header {CSRF_HEADER} is missing or wrong: reload the page")
    return visitor


def refuse_too_many(rights: Access) -> None:
    """Refuse with 429 while too many wrong tokens have come."""
    if (wait := rights.wait()) > 0.0:
        raise HTTPException(429, "too many wrong tokens", {"Retry-After": str(int(wait) + 1)})


Anyone = Annotated[Visitor | None, Depends(_anyone)]
Reader = Annotated[Visitor, Depends(_visitor)]
Commander = Annotated[Visitor, Depends(_commander)]


def _bot(request: Request, name: str) -> BotFiles:
    """Return the bot of an address.

    Raises
    ------
    HTTPException
        404 if there is none.
    """
    found = request.app.state.bots.bots().get(name)
    if found is None:
        raise HTTPException(404, "there is no such bot")
    return found


def _bots(request: Request) -> StateDirs:
    found: StateDirs = request.app.state.bots
    return found


Bots = Annotated[StateDirs, Depends(_bots)]
Bot = Annotated[BotFiles, Depends(_bot)]
Count = Annotated[int, Query(ge=1, le=MOST)]


def symbol_of(bot: BotFiles, symbol: str | None) -> str:
    """Return a symbol of a bot, its first one for None; 404 if it has not this one."""
    symbols = bot.symbols()
    if symbol is None and symbols:
        return symbols[0]
    if symbol not in symbols:
        raise HTTPException(404, "the bot does not trade this symbol")
    return symbol
