"""The options that several commands share; nothing is loaded for them, so that each command loads what it uses."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="Candles: FILE or SYMBOL=FILE; CSV, JSON, Parquet or Feather, zipped or not, a folder or a pattern of "
        "files that belong together, or a pipe. Repeat for several symbols.",
    ),
]
Interval = Annotated[str, typer.Option(help="Bar length that the candles of --data have and that is traded.")]
Resample = Annotated[
    str, typer.Option(help="Bar length to make of finer candles of --data: 15m. They may have any that divides it.")
]
Funding = Annotated[list[str], typer.Option("--funding", help="Funding rates of a symbol: FILE or SYMBOL=FILE.")]
Mark = Annotated[list[str], typer.Option("--mark", help="Mark price candles of a symbol: FILE or SYMBOL=FILE.")]
Detail = Annotated[
    list[str],
    typer.Option("--detail", help="Finer candles of a symbol (1m), matched inside its bars: FILE or SYMBOL=FILE."),
]
Brackets = Annotated[
    Path | None,
    typer.Option(
        help="Brackets or filters in place of the packaged table, JSON: the exchange's answer, a table, or a history "
        "by date."
    ),
]
Symbols = Annotated[
    list[str], typer.Option("--symbol", help="Perpetual to download: BTC/USDT:USDT or BTCUSDT. Repeat for several.")
]
Venue = Annotated[str, typer.Option("--exchange", help="Where to download from: binanceusdm, bybit or okx.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Folder of the downloads; default in the user's cache directory.")
]
Gaps = Annotated[str, typer.Option(help="Missing bars: refuse, or flat to fill them without volume.")]
Start = Annotated[
    str, typer.Option("--from", help="First day or time traded, UTC: 2024-01-01. The bars before it are the warm-up.")
]
End = Annotated[str, typer.Option("--to", help="Last day or time, UTC.")]
Config = Annotated[
    list[Path],
    typer.Option(
        "--config", help="Parameters as a TOML file, or a preset. Repeat: the last that names a value counts."
    ),
]
Settings = Annotated[list[str], typer.Option("--set", help="One parameter: name=value. Wins over --config. Repeat.")]
Cash = Annotated[float, typer.Option(help="Starting wallet, quote currency.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        help="A strategy of your own in place of the grid: FILE.py:CLASS or MODULE:CLASS. Its parameters: the table "
        "[CLASS] of --config, and --set CLASS.name=value.",
    ),
]
