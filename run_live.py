"""Trade GridStrategyV4 live or on paper: `python run_live.py --help`. The same program as `gridv4 live`."""

import sys

from gridv4_bt.cli.layers import trades_on_paper
from gridv4_bt.late import save_memory

if __name__ == "__main__":
    save_memory(plain=not trades_on_paper(sys.argv[1:]))
    from gridv4_bt.cli.live import main

    main()
