"""The command line of `gridv4 init`."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from gridv4_bt.cli.common import check_cash
from gridv4_bt.cli.layers import PROJECT_FILE
from gridv4_bt.config import RunSettings
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.keys import KEY, SECRET
from gridv4_bt.live.private_files import write_private

EXCHANGES = get_args(RunSettings.model_fields["exchange"].annotation)
SECRETS_FILE = Path(".env")


def write_project(
    symbol: Annotated[str, typer.Option(help="Perpetual to trade.")] = "BTC/USDT:USDT",
    cash: Annotated[float, typer.Option(help="Wallet of backtests and paper sessions, quote currency.")] = 10_000.0,
    exchange: Annotated[
        str, typer.Option(help=f"Where market data comes from: {', '.join(EXCHANGES)}.")
    ] = "binanceusdm",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take the options and their defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the gridv4.toml that is there.")] = False,
) -> None:
    """Write the settings of a new folder: asks for symbol, wallet, exchange and keys.

    gridv4.toml says what `gridv4 backtest` and `gridv4 live` trade; as written, live trades on paper. Keys go to .env,
    which you alone may read, and only if you give them; a .env that is there stays as it is.
    """
    if PROJECT_FILE.exists() and not force:
        raise ConfigError(f"{PROJECT_FILE}: is there already; edit it, or replace it with --force")
    key = secret = ""
    if not yes:
        symbol = typer.prompt("Symbol", default=symbol)
        cash = typer.prompt("Wallet of backtests and paper sessions, quote currency", default=cash, type=float)
        exchange = typer.prompt(f"Exchange for market data ({', '.join(EXCHANGES)})", default=exchange)
        if not SECRETS_FILE.exists():
            key = typer.prompt(f"{KEY} (Enter: none; paper and backtests need none)", default="", show_default=False)
            if key:
                secret = typer.prompt(SECRET, hide_input=True)
    name = exchange_symbol(symbol.strip())
    check_cash(cash)
    if exchange not in EXCHANGES:
        raise ConfigError(f"--exchange {exchange}: {', '.join(EXCHANGES)}")
    PROJECT_FILE.write_text(_project(symbol.strip(), cash, exchange), encoding="utf-8")
    written = [str(PROJECT_FILE)]
    if key:
        write_private(SECRETS_FILE, f"{KEY}={key.strip()}\n{SECRET}={secret.strip()}\n")
        written.append(str(SECRETS_FILE))
    typer.echo(f"written: {', '.join(written)}. Next:")
    typer.echo(f"  gridv4 backtest --from 2024-01-01   downloads {name} once, trades it, writes a report")
    typer.echo(f"  gridv4 live                         on paper: {name} of the latest 30 days")
    typer.echo("  gridv4 config show                  every setting, and where it comes from")


def _project(symbol: str, cash: float, exchange: str) -> str:
    return f"""\
# Settings of `gridv4 backtest` and `gridv4 live` in this folder. `gridv4 config show` has every setting and its origin.
# Parameters of the strategy stand here by their names, before the table [run]; `gridv4 params` lists them:
# levels = 15

[run]
symbol = ["{symbol}"]
cash = {cash!r}
exchange = "{exchange}"
paper = true  # `gridv4 live` trades on paper. Without this line it trades with your money.
"""
