"""The desk's web application: the page, and the REST interface behind it, which is public."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gridv4_bt.desk import access, command_routes
from gridv4_bt.desk.access import COOKIE, Access
from gridv4_bt.desk.health import HealthCheck
from gridv4_bt.desk.routes import API, router
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.desk.visitors import Reader, refuse_too_many
from gridv4_bt.version import VERSION

_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
_OWN = ("desk.js", "desk.css", "desk.html", "bot_views.js", "live_chart.js")
#: What the page shares with the report.
_SHARED = {
    "text.js": "text.js", "page.js": "page.js", "report.css": "report.css",
    "lightweight-charts.js": "vendor/lightweight-charts.standalone.production.js",
}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip
_THREADS = 4
_LARGEST_BODY = 10_000  # bytes


class Login(BaseModel):
    """What a person logs in with."""

    token: Annotated[str, Field(max_length=200)]


def make_app(bots: StateDirs, rights: Access, hosts: frozenset[str], is_tls: bool = False) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    hosts : names under which the desk is reached; a request for another one is refused.
    is_tls : whether browsers reach it by https.
    """
    app = FastAPI(
        title="GridStrategyV4 desk", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None,
        lifespan=_life,
    )  # fmt: skip
    app.state.bots, app.state.rights, app.state.is_tls = bots, rights, is_tls
    app.state.health = HealthCheck(bots)
    _guard(app, hosts)
    _pages(app)
    _login(app)
    app.include_router(router)
    app.include_router(command_routes.router)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Read the bots' curves before anyone asks, and answer few requests at a time.

    Each thread keeps memory of its own, and Python runs one of them only.
    """
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    bots: StateDirs = app.state.bots
    threading.Thread(target=lambda: [bot.curve() for bot in bots.bots().values()], daemon=True).start()
    yield


def _guard(app: FastAPI, hosts: frozenset[str]) -> None:
    """Refuse requests for other hosts and from other pages, and give every answer its headers."""

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        scheme = "https" if app.state.is_tls else "http"
        if not access.is_known_host(host, hosts):
            answer: Response = JSONResponse({"detail": "this desk has another name"}, 421)
        elif origin is not None and not access.is_own_origin(origin, host, scheme):
            answer = JSONResponse({"detail": "a request from another page"}, 403)
        elif request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            answer = JSONResponse({"detail": "a request from another site"}, 403)
        elif int(request.headers.get("content-length") or 0) > _LARGEST_BODY:
            answer = JSONResponse({"detail": "too long"}, 413)
        else:
            answer = await go_on(request)
        answer.headers.update(_HEADERS)
        return answer


# --- the page --------------------------------------------------------------------------------------------


def _pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _asset("desk.html")

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        return _asset(name)


def _asset(name: str) -> Response:
    """Return a file of the page; of a fixed list, whatever the address says."""
    found: Traversable
    if name in _OWN:
        found = files("gridv4_bt.desk") / "assets" / name
    elif name in _SHARED:
        found = files("gridv4_bt.report") / "assets" / _SHARED[name]
    else:
        raise HTTPException(404, "there is no such file")
    return Response(found.read_bytes(), media_type=_TYPES[name[name.rindex(".") :]])


# --- logging in ------------------------------------------------------------------------------------------


def _login(app: FastAPI) -> None:
    rights: Access = app.state.rights

    @app.post(f"{API}/login")
    def log_in(body: Login, response: Response) -> dict[str, str]:
        """Begin a session of a browser."""
        refuse_too_many(rights)
        visitor = rights.log_in(body.token.strip())
        if visitor is None:
            raise HTTPException(401, "this is not a token of the desk")
        response.set_cookie(
            COOKIE, visitor.session, httponly=True, samesite="strict", secure=app.state.is_tls, path="/"
        )
        return {"role": visitor.role, "csrf": visitor.csrf}

    @app.get(f"{API}/session")
    def session(visitor: Reader) -> dict[str, str]:
        """Say what the visitor may do."""
        return {"role": visitor.role, "csrf": visitor.csrf}

    @app.post(f"{API}/logout")
    def log_out(visitor: Reader, response: Response) -> dict[str, bool]:
        """End a session."""
        rights.log_out(visitor.session)
        response.delete_cookie(COOKIE, path="/")
        return {"done": True}
