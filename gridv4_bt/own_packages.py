"""The packages beside this one: `brokers`, `feeds`, `strategies` and `presets` are ours, whatever a user's folder has.

The names are common, and Python takes the first one on its path, which of a script is the folder that it is in. The
commands therefore put ours first; a script that meets another package of such a name is told so.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

OWN = ("brokers", "feeds", "presets", "strategies")
HOME = Path(__file__).resolve().parents[1]


def put_first() -> None:
    """Let Python look for packages beside `gridv4_bt` before anywhere else."""
    if sys.path[:1] != [str(HOME)]:
        sys.path.insert(0, str(HOME))


def check() -> None:
    """Refuse to go on with another package in the place of one of ours.

    Raises
    ------
    ImportError
        Naming it, and what to do.
    """
    for name in OWN:
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parents[1] != HOME:
            place = "" if spec is None else spec.origin or ", ".join(spec.submodule_search_locations or ())
            raise ImportError(
                f"{place or name} is in the place of GridStrategyV4's package `{name}`. Take the __init__.py out of a "
                f"folder of that name or rename it, or put sys.path.insert(0, {str(HOME)!r}) first in the script."
            )
