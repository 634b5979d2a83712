"""Backtest GridStrategyV4: `python run_backtest.py --help`. The same program as `gridv4 backtest`."""

from gridv4_bt.cli.backtest import main

if __name__ == "__main__":
    main()
