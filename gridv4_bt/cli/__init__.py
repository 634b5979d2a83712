"""The command lines. A bad value, file or combination ends with one line on stderr and exit code 2."""

from gridv4_bt.late import load_talib_late

load_talib_late()
