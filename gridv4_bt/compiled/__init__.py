"""Compilation by numba, where installed, of the rules that run every bar.

The rules are plain functions on numbers and flat arrays; compiled or not they give the same bits. Only what has not
been compiled yet needs numba: see `gridv4_bt.compiled.machine_code`.
"""

from gridv4_bt.compiled.arrays import available, buffer, column, plain, table
from gridv4_bt.compiled.rules import cache_home, compiled

__all__ = ["available", "buffer", "cache_home", "column", "compiled", "plain", "table"]
