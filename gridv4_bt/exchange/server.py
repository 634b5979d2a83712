"""The local exchange behind a socket on 127.0.0.1, in the foreground or in a thread of its own."""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Self, TypeVar

from aiohttp import web

from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.messages import Request, Response

HOST = "127.0.0.1"
TICK = 0.2  #: seconds
T = TypeVar("T")


class Server:
    """An HTTP server of an `Api`.

    It answers requests one after another in one thread, so that none sees the exchange in the middle of a change.
    """

    def __init__(self, api: Api, port: int = 0) -> None:
        self.api = api
        self.port = port
        self._runner: web.ServerRunner | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Start listening; port 0 takes a free one."""
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Close all connections."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        """Advance the time between requests."""
        while True:
            await asyncio.sleep(TICK)
            self.api.tick()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode(errors="replace")
        path, _, query = request.raw_path.partition("?")
        response = self.api.respond(Request(request.method, path, query, body, request.headers))
        if response.delay:
            await asyncio.sleep(response.delay)
        if response.share < 1.0:
            return await _cut(request, response)
        headers = {"Content-Type": "application/json"} | response.headers
        return web.Response(status=response.status, body=response.body, headers=headers)


async def _cut(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Send a part of the response and drop the connection."""
    headers = {"Content-Type": "application/json"} | response.headers
    stream = web.StreamResponse(status=response.status, headers=headers)
    if response.share > 0.0:
        stream.content_length = len(response.body)
        await stream.prepare(request)
        await stream.write(response.body[: int(len(response.body) * response.share)])
    if request.transport is not None:
        request.transport.close()
    return stream


def serve(server: Server, on_start: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    on_start : called with the address once the server listens.

    Raises
    ------
    ConfigError
        The port cannot be used.
    """
    asyncio.run(_serve(server, on_start))


async def _serve(server: Server, on_start: Callable[[str], None]) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ConfigError(f"--port {server.port}: {error.strerror}; choose another, or 0") from None
    on_start(server.url)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        await server.stop()


class ServerThread:
    """A server in a thread of its own, as a context manager.

    >>> with ServerThread(api) as server:
    ...     client = sync_client(server.url)
    ...     server.call(lambda: api.exchange.advance_bars(1))
    """

    def __init__(self, api: Api, port: int = 0) -> None:
        self._server = Server(api, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="exchange", daemon=True)

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._server.url

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        self._close()

    def call(self, action: Callable[[], T]) -> T:
        """Run something between two requests and return its result."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
