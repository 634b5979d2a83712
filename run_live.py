"""Trade GridStrategyV4 live or on paper: `python run_live.py --help`. The same program as `gridv4 live`."""

from gridv4_bt.cli.live import main

if __name__ == "__main__":
    main()
