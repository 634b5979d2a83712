"""The parameters of a session that goes on: those of its ``config.toml``, but for what the user names."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridv4_bt.config import GridConfig, make_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.state import StateFile

FILE = "config.toml"
NEW_DEFAULTS = "--new-defaults"  #: the option that takes today's defaults


@dataclass(frozen=True)
class KeptParameters:
    """The parameters with which a session goes on."""

    file: Path
    config: GridConfig
    added: Mapping[str, Any]  #: parameters that the file does not have yet, with today's default

    def differing(self, config: GridConfig, fresh: GridConfig) -> dict[str, tuple[Any, Any]]:
        """Return what `config`, which a session uses, has of the file and `fresh`, today's defaults, has not.

        By name: the value kept and the one that ``--new-defaults`` would take.
        """
        pairs = {name: (getattr(config, name), getattr(fresh, name)) for name in GridConfig.model_fields}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def kept_parameters(folder: Path, place: str, named: GridConfig) -> KeptParameters | None:
    """Return the parameters with which the session in a state directory goes on; None if there is none.

    What the user names counts, then what the session was started with, then today's defaults.

    Parameters
    ----------
    place : name of the gateway; the session of another one does not go on.
    named : parameters as the user names them: those of its `model_fields_set`.

    Raises
    ------
    ConfigError
        The file cannot be read, or a parameter in it is unknown or not allowed any more, alone or with what is named.
    """
    path = folder / FILE
    if not path.is_file() or StateFile(folder, place).peek() is None:
        return None
    old = _read(path)
    chosen = {name: getattr(named, name) for name in named.model_fields_set}
    try:
        config = make_config(old | chosen)
    except ConfigError as error:
        raise ConfigError(_cure(path, old, error)) from None
    added = {name: getattr(config, name) for name in GridConfig.model_fields if name not in old | chosen}
    return KeptParameters(path, config, added)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); make it readable or give {NEW_DEFAULTS}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); correct it, or give {NEW_DEFAULTS}") from None


def _cure(path: Path, old: Mapping[str, Any], error: ConfigError) -> str:
    """Return what is wrong with the parameters kept, alone or with those named, and what to do."""
    instead = f"take today's defaults for all you do not name with {NEW_DEFAULTS}"
    try:
        make_config(old)
    except ConfigError as alone:
        return (
            f"{path}, whose parameters this session keeps: {alone}. Correct or delete it there (the changelog names "
            f"what was renamed), or {instead}"
        )
    return f"{error}; what you do not name is kept from {path}: name the other one too, or {instead}"
