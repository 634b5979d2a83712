"""The busy preset for tests: they need many fills, stops and cuts, whatever the defaults are."""

from gridv4_bt.config import GridConfig, load_config, make_config
from presets import BUSY as BUSY_FILE

BUSY = load_config(BUSY_FILE).model_dump()  #: every parameter by name, for a strategy


def busy(**changes: object) -> GridConfig:
    """Return the busy preset with other values for some parameters."""
    return make_config(BUSY | changes)
