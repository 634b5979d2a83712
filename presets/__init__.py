"""Parameter sets as files, and search spaces."""

from pathlib import Path

FOLDER = Path(__file__).parent
BUSY = FOLDER / "busy.toml"  #: trades all the time, for whoever needs many fills, stops and cuts to compare
