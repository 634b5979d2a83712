"""The command line of `gridv4 desk`."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridv4_bt.errors import ConfigError

if TYPE_CHECKING:
    from gridv4_bt.desk.state_dirs import StateDirs

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_HELP = "pip install 'gridstrategy-v4[desk]'"


def run_desk(
    place: Annotated[
        list[Path],
        typer.Argument(help="State directories of bots, or folders of them; default data.", show_default=False),
    ] = [],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65_535)] = 8_720,
    name: Annotated[
        list[str], typer.Option("--name", help="Another name under which browsers reach the desk; repeat for several.")
    ] = [],
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Listen elsewhere than on this machine without TLS all the same.")
    ] = False,
    tokens: Annotated[Path, typer.Option(help="Folder of the two tokens, which are made at the first start.")] = Path(
        "data/desk"
    ),
    telegram: Annotated[
        bool, typer.Option("--telegram", help="Answer in Telegram too, as `gridv4 telegram` does.")
    ] = False,
) -> None:
    """Watch and steer bots in a browser, also on a phone.

    It reads the state directories and never asks the exchange; bots that appear later are found, and go on whatever
    becomes of the desk. Commands go into the state directory as files, which the bot takes up within 20 seconds.
    """
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("--tls-cert and --tls-key: give both or neither")
    for path in (tls_cert, tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
    if host not in LOCAL and tls_cert is None and not without_tls:
        raise ConfigError(
            f"--host {host}: others could read along; give --tls-cert and --tls-key, or keep 127.0.0.1 and reach it by "
            "ssh -L, or say --without-tls"
        )
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError:
        raise ConfigError(f"the desk needs FastAPI and uvicorn: {_HELP}") from None
    from gridv4_bt.desk.access import Access
    from gridv4_bt.desk.app import make_app
    from gridv4_bt.desk.state_dirs import StateDirs

    bots = StateDirs(place or [Path("data")])
    service = _telegram(bots, tokens) if telegram else nullcontext()
    rights = Access(tokens)
    hosts = LOCAL | {host, *name}
    scheme = "http" if tls_cert is None else "https"
    print(f"{scheme}://{host}:{port}/ with the token in {tokens / 'token'} ({tokens / 'read-token'} only reads)")
    with service:
        uvicorn.run(
            make_app(bots, rights, hosts, tls_cert is not None), host=host, port=port, log_level="warning",
            ssl_certfile=tls_cert and str(tls_cert), ssl_keyfile=tls_key and str(tls_key), server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=2,
        )  # fmt: skip


def _telegram(bots: "StateDirs", folder: Path) -> AbstractContextManager[None]:
    """Return the Telegram bot beside the desk; what it must know after a restart is with the tokens."""
    from gridv4_bt.cli.telegram import log_to_stderr
    from gridv4_bt.desk.telegram.service import MEMORY, Service, in_background
    from gridv4_bt.desk.telegram.telegram_settings import read_telegram_settings

    log_to_stderr()
    return in_background(Service(bots, read_telegram_settings(Path()), folder / MEMORY))
