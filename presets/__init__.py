"""Parameter sets as files, and search spaces; they come with the package."""

from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files(__name__)))
BUSY = FOLDER / "busy.toml"  #: trades all the time, for whoever needs many fills, stops and cuts to compare


def preset_or(path: Path) -> Path:
    """Return a path as it is, or the preset that it names where no such file exists.

    `busy`, `busy.toml` and `presets/busy.toml` name the same one, `spaces/btc.toml` and `presets/spaces/btc.toml` too.
    """
    if path.exists() or path.is_absolute() or ".." in path.parts:
        return path
    parts = path.parts[1:] if path.parts[:1] == ("presets",) else path.parts
    found = FOLDER.joinpath(*parts).with_suffix(".toml")
    return found if parts and found.is_file() else path
