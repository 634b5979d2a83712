"""The examples under each command's ``--help``."""

EXAMPLES = {
    "audit": ("gridv4 audit --state-dir data/live_state", "gridv4 audit --state-dir data/paper_state --max-drift 0.01"),
    "backtest": (
        "gridv4 backtest                                            the sample market, no network",
        "gridv4 backtest --config busy                              a preset that trades all the time",
        "gridv4 backtest --symbol BTC/USDT:USDT --from 2024-01-01   public data, downloaded once",
        "gridv4 backtest --data BTCUSDT-15m.csv --set levels=6 --out runs/six",
        "gridv4 backtest --config busy --optimize k=1:2:0.5 --jobs 2",
    ),
    "backup": ("gridv4 backup --state-dir data/live_state --out backups",),
    "bias": (
        "gridv4 bias lookahead --data BTCUSDT-15m.csv",
        "gridv4 bias warmup --data BTCUSDT-15m.csv --from 2024-06-01",
    ),
    "bias lookahead": ("gridv4 bias lookahead --data BTCUSDT-15m.csv --cuts 10 --config busy",),
    "bias warmup": ("gridv4 bias warmup --data BTCUSDT-15m.csv --from 2024-06-01 --warm-ups 250,1000,4000",),
    "chaos": ("gridv4 chaos --seeds 3 --bars 100", "gridv4 chaos --seeds 6 --faults all --jobs 2"),
    "compare": ("gridv4 compare runs/a runs/b --out curves.png",),
    "compile": ("gridv4 compile",),
    "config": ("gridv4 config show", "gridv4 config schema > gridv4.schema.json"),
    "config schema": ("gridv4 config schema > gridv4.schema.json",),
    "config show": (
        "gridv4 config show",
        "gridv4 config show --config busy --set levels=6",
        "GRIDV4__LEVELS=6 gridv4 config show --changed --json",
    ),
    "data": ("gridv4 data download --symbol BTC/USDT:USDT --from 2024-01-01", "gridv4 data list"),
    "data check": ("gridv4 data check --symbol BTC/USDT:USDT",),
    "data download": ("gridv4 data download --symbol BTC/USDT:USDT --symbol ETHUSDT --from 2024-01-01",),
    "data list": ("gridv4 data list", "gridv4 data list --json"),
    "desk": ("gridv4 desk", "gridv4 desk data/live_state --port 9000", "gridv4 desk --telegram"),
    "exchange": (
        "gridv4 exchange --data BTCUSDT-15m.csv --database account.sqlite",
        "gridv4 exchange --live BTC/USDT:USDT",
    ),
    "init": ("gridv4 init", "gridv4 init --symbol ETH/USDT:USDT --cash 2000 --yes       asks nothing, writes no key"),
    "live": (
        "gridv4 live --paper --config busy --days 3                 no key, no network",
        "gridv4 live --symbol ETH/USDT:USDT --check                 looks, changes nothing",
        "gridv4 live --symbol ETH/USDT:USDT --demo                  the exchange's demo environment",
        "gridv4 live --symbol ETH/USDT:USDT --state-dir data/eth    with your money",
    ),
    "optimize": ("gridv4 optimize --space presets/spaces/btc.toml --out runs/search --jobs 2",),
    "params": ("gridv4 params", "gridv4 params levels", "gridv4 params --json"),
    "regimes": ("gridv4 regimes --data BTCUSDT-15m.csv",),
    "report": ("gridv4 report runs/a", "gridv4 report runs/a --out page.html"),
    "status": ("gridv4 status", "gridv4 status --state-dir data/live_state --json"),
    "telegram": ("gridv4 telegram", "gridv4 telegram data/live_state"),
}


def epilog(command: str) -> str:
    r"""Return the end of a command's help; the line `\b` keeps its lines as they are."""
    lines = EXAMPLES.get(command, ())
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
