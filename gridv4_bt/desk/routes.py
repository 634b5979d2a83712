"""The desk's REST interface: what is read. It is public; `openapi.json` describes it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from gridv4_bt.desk import bot_overview, held, incident, ladder_view
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.visitors import Bot, Bots, Count, Reader, symbol_of
from gridv4_bt.metrics.summary import finite
from gridv4_bt.version import VERSION

API = "/api/v1"
router = APIRouter(prefix=API)
_LOOK_S = 1.0  # between two looks at the bots' files, for the stream


@router.get("/ping")
def ping(visitor: Reader) -> dict[str, str]:
    """Say that the desk answers."""
    return {"status": "pong"}


@router.get("/version")
def version(visitor: Reader) -> dict[str, str]:
    """Say which version this is."""
    return {"version": VERSION}


@router.get("/openapi.json")
def openapi(visitor: Reader, request: Request) -> dict[str, Any]:
    """Describe this interface."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/health")
def health(visitor: Reader, bots: Bots) -> dict[str, Any]:
    """Say whether every bot decides: the desk is healthy if it answers."""
    states = {name: bot_overview.overview(name, bot)["state"] for name, bot in bots.bots().items()}
    return {"healthy": all(one in ("running", "halted") for one in states.values()), "bots": states}


@router.get("/bots")
def all_bots(visitor: Reader, bots: Bots) -> list[dict[str, Any]]:
    """Return a line for each bot."""
    return finite([bot_overview.overview(name, bot) for name, bot in bots.bots().items()])


@router.get("/bots/{name}")
def one_bot(visitor: Reader, name: str, bot: Bot) -> dict[str, Any]:
    """Return a bot's line, where its profit comes from, and where exchange and bot have differed."""
    line = bot_overview.overview(name, bot)
    more = {
        "pnl": held.profit(bot),
        "mismatch": bot_overview.mismatches(bot),
        "audit": bot_overview.audit_of_the_day(bot),
    }
    return finite(incident.masked_values(line | more | {"symbol_names": bot.symbols()}))


@router.get("/bots/{name}/legs")
def legs_of(visitor: Reader, bot: Bot) -> list[dict[str, Any]]:
    """Return both legs of each symbol with their fills, and the net."""
    return finite(held.leg_rows(bot))


@router.get("/bots/{name}/orders")
def orders(visitor: Reader, bot: Bot, symbol: str | None = None) -> dict[str, Any]:
    """Return the open orders, and of every level of the ladder the planned one or the reason why there is none."""
    found = ladder_view.open_orders(bot)
    return finite({"open": found, "ladder": ladder_view.ladder(bot, symbol_of(bot, symbol), found)})


@router.get("/bots/{name}/why")
def why(visitor: Reader, bot: Bot, symbol: str | None = None, bar: str | None = None) -> dict[str, Any]:
    """Return why a bar was decided as it was; without `bar` the latest."""
    return finite(ladder_view.why(bot, symbol_of(bot, symbol), bar))


@router.get("/bots/{name}/candles")
def candles(visitor: Reader, bot: Bot, symbol: str | None = None, count: Count = 400) -> list[list[Any]]:
    """Return the latest candles: time, open, high, low, close, volume."""
    return finite(bot.candles(symbol_of(bot, symbol), count))


@router.get("/bots/{name}/fills")
def fills(visitor: Reader, bot: Bot, first: Annotated[int, Query(ge=0)] = 0, count: Count = 100) -> dict[str, Any]:
    """Return executions, the newest first."""
    total, rows = bot.fills.page(first, count)
    return finite({"total": total, "first": first, "rows": rows})


@router.get("/bots/{name}/funding")
def funding(visitor: Reader, bot: Bot, first: Annotated[int, Query(ge=0)] = 0, count: Count = 100) -> dict[str, Any]:
    """Return funding settlements, the newest first."""
    total, rows = bot.funding.page(first, count)
    return finite({"total": total, "first": first, "rows": rows})


@router.get("/bots/{name}/cycles")
def cycles(visitor: Reader, bot: Bot, count: Count = 100) -> list[dict[str, Any]]:
    """Return the cycles of each leg, from flat to flat, the newest first."""
    return finite(held.cycles(bot)[:count])


@router.get("/bots/{name}/pnl")
def pnl(visitor: Reader, bot: Bot, by: Literal["day", "symbol", "side"] | None = None) -> dict[str, Any]:
    """Return the profit in five parts, and by day, symbol or side."""
    return finite({"total": held.profit(bot), "rows": held.profit_by(bot, by) if by else []})


@router.get("/bots/{name}/equity")
def equity(visitor: Reader, bot: Bot, points: Annotated[int, Query(ge=2, le=5_000)] = 1_200) -> dict[str, Any]:
    """Return the equity over the bot's life, over restarts."""
    return finite(bot_overview.equity_curve(bot, points))


@router.get("/bots/{name}/exposure")
def exposure(visitor: Reader, bot: Bot) -> list[dict[str, Any]]:
    """Return what was held at the latest bars."""
    return finite(bot_overview.exposure_curve(bot))


@router.get("/bots/{name}/events")
def events(visitor: Reader, bot: Bot, count: Count = 100, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the latest events, the newest first."""
    found = [one for one in reversed(bot.events()) if kind in (None, one.get("kind"))]
    return finite(incident.masked_values(found[:count]))


@router.get("/bots/{name}/logs")
def logs(visitor: Reader, bot: Bot, count: Count = 100) -> list[dict[str, Any]]:
    """Return the latest alerts and failures, the newest first."""
    return finite(bot_overview.failures(bot, count))


@router.get("/bots/{name}/config")
def config(visitor: Reader, bot: Bot) -> dict[str, Any]:
    """Return the parameters."""
    return finite(incident.masked_values(bot.config().model_dump()))


@router.get("/bots/{name}/bundle")
def bundle(visitor: Reader, name: str, bot: Bot) -> Response:
    """Return the latest records in a zip without any secret, for someone who helps."""
    head = {"Content-Disposition": f'attachment; filename="incident-{name}.zip"'}
    return Response(incident.bundle(bot), media_type="application/zip", headers=head)


@router.get("/stream")
async def stream(visitor: Reader, bots: Bots, request: Request) -> StreamingResponse:
    """Send the names of bots that have written something, as server-sent events."""
    return StreamingResponse(_changes(bots, request), media_type="text/event-stream")


async def _changes(bots: StateDirs, request: Request) -> AsyncIterator[str]:
    known: dict[str, str] = {}
    while not await request.is_disconnected():
        found = await asyncio.to_thread(lambda: {name: bot.version() for name, bot in bots.bots().items()})
        changed = [name for name in found if known.get(name) != found[name]] + [
            one for one in known if one not in found
        ]
        known = found
        yield f"event: changed\ndata: {json.dumps(sorted(changed))}\n\n" if changed else ": still here\n\n"
        await asyncio.sleep(_LOOK_S)
