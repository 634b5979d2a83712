"""The desk's REST interface: what is read. It is public; `openapi.json` describes it."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from gridv4_bt.desk import answers, bot_overview, comparison, drawn_fills, held, incident, ladder_view
from gridv4_bt.desk.account_risk import account_risk
from gridv4_bt.desk.health import HealthCheck
from gridv4_bt.desk.line_index import LineIndex
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.visitors import Anyone, Bot, Bots, Count, Reader, symbol_of
from gridv4_bt.metrics.summary import finite
from gridv4_bt.version import VERSION

API = "/api/v1"
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "neither a token nor a session"},
    404: {"description": "there is no such bot, or it does not trade this symbol"},
    429: {"description": "too many wrong tokens; Retry-After says for how many seconds"},
}
router = APIRouter(prefix=API, responses=_REFUSALS)
#: The number of the first row of a page, from the newest on.
First = Annotated[int, Query(ge=0)]
#: Open time of a bar.
Bar = Annotated[str | None, Query(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$")]
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
_LOOK_S = 1.0  # between two looks at the bots' files, for the stream


@router.get("/ping")
def ping(visitor: Reader) -> answers.Pong:
    """Say that the desk answers."""
    return answers.Pong(status="pong")


@router.get("/version")
def version(visitor: Reader) -> answers.Version:
    """Say which version this is."""
    return answers.Version(version=VERSION)


@router.get("/openapi.json")
def openapi(visitor: Reader, request: Request) -> dict[str, Any]:
    """Describe this interface."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get(
    "/health",
    response_model=answers.Health,
    responses={503: {"model": answers.Health, "description": "a bot is stale"}},
)
def health(visitor: Anyone, request: Request, response: Response) -> Any:
    """Say whether every bot lives and decides, with 503 where one is stale; without a token in numbers alone."""
    check: HealthCheck = request.app.state.health
    found = check.look()
    response.status_code = 200 if found["healthy"] else 503
    return found if visitor is not None else found | {"bots": None}


@router.get("/bots", response_model=list[answers.BotLine])
def all_bots(visitor: Reader, bots: Bots) -> Any:
    """Return a line for each bot."""
    return finite([bot_overview.overview(name, bot) for name, bot in bots.bots().items()])


@router.get("/bots/{name}", response_model=answers.OneBot)
def one_bot(visitor: Reader, name: str, bot: Bot) -> Any:
    """Return a bot's line, where its profit comes from, its risk, and where exchange and bot have differed."""
    line = bot_overview.overview(name, bot)
    more = {
        "pnl": held.profit(bot) or None,
        "risk": account_risk(bot) or None,
        "mismatch": bot_overview.mismatches(bot),
        "audit": comparison.audit_of_the_day(bot),
    }
    return finite(incident.masked_values(line | more | {"symbol_names": bot.symbols()}))


@router.get("/bots/{name}/legs", response_model=list[answers.LegRow])
def legs_of(visitor: Reader, bot: Bot) -> Any:
    """Return both legs of each symbol with their fills, and the net."""
    return finite(held.leg_rows(bot))


@router.get("/bots/{name}/risk", response_model=answers.Risk | None)
def risk(visitor: Reader, bot: Bot) -> Any:
    """Return liquidation prices and distances of the account, and a warning where one is near; null at the start."""
    return finite(account_risk(bot)) or None


@router.get("/bots/{name}/orders", response_model=answers.Orders)
def orders(visitor: Reader, bot: Bot, symbol: str | None = None) -> Any:
    """Return the open orders, and of every level of the ladder the planned one or the reason why there is none."""
    found = ladder_view.open_orders(bot)
    return finite({"open": found, "ladder": ladder_view.ladder(bot, symbol_of(bot, symbol), found)})


@router.get("/bots/{name}/why", response_model=answers.Why)
def why(visitor: Reader, bot: Bot, symbol: str | None = None, bar: Bar = None) -> Any:
    """Return why a bar was decided as it was; without `bar` the latest."""
    return finite(ladder_view.why(bot, symbol_of(bot, symbol), bar))


@router.get("/bots/{name}/candles", response_model=list[answers.Candle])
def candles(visitor: Reader, bot: Bot, symbol: str | None = None, count: Count = 400) -> Any:
    """Return the latest candles: time, open, high, low, close, volume."""
    return finite(bot.candles(symbol_of(bot, symbol), count))


@router.get("/bots/{name}/chart", response_model=answers.ChartOf)
def chart(visitor: Reader, bot: Bot, symbol: str | None = None, count: Count = 400) -> Any:
    """Return the latest candles of a symbol with its open orders, the prices of its legs and the executions in them."""
    return finite(drawn_fills.chart(bot, symbol_of(bot, symbol), count))


@router.get("/bots/{name}/fills", response_model=answers.ExecutionPage)
def fills(visitor: Reader, bot: Bot, first: First = 0, count: Count = 100) -> Any:
    """Return executions with what each was for, the newest first."""
    total, rows = drawn_fills.fill_rows(bot, first, count)
    return finite({"total": total, "first": first, "rows": rows})


@router.get("/bots/{name}/funding", response_model=answers.EventPage)
def funding(visitor: Reader, bot: Bot, first: First = 0, count: Count = 100) -> Any:
    """Return funding settlements, the newest first."""
    return _page(bot.funding, first, count)


@router.get("/bots/{name}/alerts", response_model=answers.EventPage)
def alerts(visitor: Reader, bot: Bot, first: First = 0, count: Count = 100) -> Any:
    """Return the alerts of the bot's life, the newest first."""
    return _page(bot.alerts, first, count)


@router.get("/bots/{name}/cycles", response_model=list[answers.LegCycle])
def cycles(visitor: Reader, bot: Bot, count: Count = 100) -> Any:
    """Return the cycles of each leg, from flat to flat, the newest first."""
    return finite(held.cycles(bot)[:count])


@router.get("/bots/{name}/pnl", response_model=answers.ProfitTable)
def pnl(visitor: Reader, bot: Bot, by: Literal["day", "symbol", "side"] | None = None) -> Any:
    """Return the profit in five parts, and by day, symbol or side."""
    return finite({"total": held.profit(bot) or None, "rows": held.profit_by(bot, by) if by else []})


@router.get("/bots/{name}/equity", response_model=answers.EquityCurve)
def equity(visitor: Reader, bot: Bot, points: Annotated[int, Query(ge=2, le=5_000)] = 1_200) -> Any:
    """Return the equity over the bot's life, over restarts."""
    return finite(bot_overview.equity_curve(bot, points))


@router.get("/bots/{name}/comparison", response_model=answers.Comparison | None)
def compared(visitor: Reader, bot: Bot) -> Any:
    """Return bot and backtest as the latest daily audit has found them; null without one (`--max-drift`)."""
    return finite(incident.masked_values(comparison.comparison(bot)))


@router.get("/bots/{name}/exposure", response_model=list[answers.Exposure])
def exposure(visitor: Reader, bot: Bot) -> Any:
    """Return what was held at the latest bars."""
    return finite(bot_overview.exposure_curve(bot))


@router.get("/bots/{name}/events", response_model=list[answers.Event])
def events(visitor: Reader, bot: Bot, count: Count = 100, kind: str | None = None) -> Any:
    """Return the latest events, the newest first."""
    return finite(incident.masked_values(list(islice(bot.latest_events([kind] if kind else ()), count))))


@router.get("/bots/{name}/logs", response_model=list[answers.Event])
def logs(visitor: Reader, bot: Bot, count: Count = 100) -> Any:
    """Return the latest alerts, failures, commands, starts and ends, the newest first."""
    return finite(bot_overview.failures(bot, count))


@router.get("/bots/{name}/config")
def config(visitor: Reader, bot: Bot) -> dict[str, Any]:
    """Return the parameters."""
    return finite(incident.masked_values(bot.config().model_dump()))


@router.get("/bots/{name}/bundle", response_class=Response, responses=_ZIP)
def bundle(visitor: Reader, name: str, bot: Bot) -> Response:
    """Return the latest records in a zip without any secret, for someone who helps."""
    head = {"Content-Disposition": f'attachment; filename="incident-{name}.zip"'}
    return Response(incident.bundle(bot), media_type="application/zip", headers=head)


@router.get("/stream", response_class=StreamingResponse, responses=_EVENTS)
async def stream(visitor: Reader, bots: Bots, request: Request) -> StreamingResponse:
    """Send the names of bots that have written something, as server-sent events."""
    return StreamingResponse(_changes(bots, request), media_type="text/event-stream")


def _page(lines: LineIndex, first: int, count: int) -> Any:
    total, rows = lines.page(first, count)
    return finite(incident.masked_values({"total": total, "first": first, "rows": rows}))


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
