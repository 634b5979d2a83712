"""The command line of `gridv4 compile`."""

import time
from functools import partial
from tempfile import TemporaryFile

from rich.console import Console

from gridv4_bt.compiled import available, cache_home
from gridv4_bt.compiled.machine_code import forget_unlinked
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.cerebro import compile_rules
from gridv4_bt.optimise.compiled_broker import compile_steps
from gridv4_bt.optimise.compiled_trials import load_kernel

#: What there is to compile, and what does it.
PARTS = {
    "the ladder of a plain backtest": compile_rules,
    "the steps of a backtest": compile_steps,
    "a sweep of one symbol": partial(load_kernel, False),
    "a sweep of several symbols in one wallet": partial(load_kernel, True),
}


def compile_all() -> None:
    """Compile the rules of backtests and sweeps, so that backtests trade twice as fast.

    It takes a minute or two and a gigabyte of memory, once for each version of the program, of Python and of numba. A
    sweep compiles what it needs by itself; a backtest does not, and trades in plain Python until this was done: the
    same run to the last bit. Where the machine has a C compiler, which links, what is compiled needs no numba to run.
    """
    if not available():
        raise ConfigError(
            "numba, which compiles, is not installed (pip install 'gridstrategy-v4[fast]') or NUMBA_DISABLE_JIT is set"
        )
    folder = cache_home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
        forget_unlinked(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror}; nothing that is compiled can be kept. Set XDG_CACHE_HOME to a folder that "
            "can be written"
        ) from error
    console = Console()
    for name, compile_it in PARTS.items():
        began = time.perf_counter()
        with console.status(f"compiling {name}"):
            compile_it()
        console.print(f"{name}: {time.perf_counter() - began:.0f} s", highlight=False)
    console.print(f"kept in {folder}", soft_wrap=True, highlight=False)
