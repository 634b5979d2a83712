"""What a wallet can trade, for `gridv4 params --wallet`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gridv4_bt.cli.common import print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_parameters
from gridv4_bt.cli.market_options import MarketFiles, read_feeds
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.validation.universe import wallet_fit


def show_wallet(
    wallet: float,
    data: Sequence[str],
    symbols: Sequence[str],
    exchange: str,
    cache_dir: Path | None,
    brackets: Path | None,
    config: Sequence[Path],
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Print which symbols a wallet can trade by their least sizes; the others are the options of `gridv4 params`."""
    files = MarketFiles(data)
    parameters, console = read_parameters(config, settings), Console(quiet=as_json)
    named, rules = read_market(files, Downloads(symbols, exchange, cache_dir), None, None, 0, brackets, console)
    fits = []
    for feed in read_feeds(named, files.gaps, None, None, console, rules):
        market = load_market_history(feed.p.name, rules, feed.prices).changes[-1][1]
        fits.append(wallet_fit(feed.p.name, market, float(feed.candles.close[-1]), wallet, parameters))
    if as_json:
        print_json([asdict(fit) | {"verdict": fit.verdict} for fit in fits])
        return
    table = Table("symbol", title=f"a wallet of {wallet:,.0f} USDT")
    for title in ("price", "a level", "smallest order", "the exchange takes", "wallet for all", "orders"):
        table.add_column(title, justify="right")
    for fit in fits:
        amounts = (f"{value:,.2f}" for value in (fit.level, fit.smallest, fit.least, fit.needed))
        table.add_row(fit.symbol, f"{fit.price:g}", *amounts, _VERDICTS[fit.verdict])
    console.print(table)
    console.print(
        "Amounts in USDT. A level is order_pct of the wallet; the smallest is what Kelly's floor, the cooldown and the "
        "funding tilt leave of it together. An order below what the exchange takes is left out (min_notional, min_qty)."
    )


_VERDICTS = {"all": "all fit", "some": "[yellow]some fit[/]", "none": "[red]none fits[/]"}
