"""The parameters of a session that goes on: those of its ``config.toml``, but for what the user names."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridv4_bt.config import GridConfig, all_parameters, flat_names, make_config, parameter_of
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.state import StateFile
from gridv4_bt.own_strategy import OwnStrategy, load_strategy, stored_values

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
        ours, theirs = all_parameters(config), all_parameters(fresh)
        # What only one of them has of a single symbol is with the other as of all symbols.
        pairs = {
            name: tuple(some.get(name, some[parameter_of(name)]) for some in (ours, theirs)) for name in ours | theirs
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def kept_parameters(
    folder: Path, place: str, named: GridConfig, names: Iterable[str] = GridConfig.model_fields
) -> KeptParameters | None:
    """Return the parameters with which the session in a state directory goes on; None if there is none.

    What the user names counts, then what the session was started with, then today's defaults.

    Parameters
    ----------
    place : name of the gateway; the session of another one does not go on.
    named : parameters as the user names them: those of its `model_fields_set`.
    names : parameters that act in the session.

    Raises
    ------
    ConfigError
        The file cannot be read, or a parameter in it is unknown or not allowed any more, alone or with what is named.
    """
    path = folder / FILE
    if not path.is_file() or StateFile(folder, place).peek() is None:
        return None
    old = {name: value for name, value in flat_names(_read(path)).items() if not isinstance(value, dict)}
    chosen = flat_names({name: getattr(named, name) for name in named.model_fields_set})
    try:
        config = make_config(old | chosen)
    except ConfigError as error:
        raise ConfigError(_cure(path, old, error)) from None
    added = {name: getattr(config, name) for name in names if name not in old | chosen}
    return KeptParameters(path, config, added)


def kept_strategy(folder: Path, place: str, own: OwnStrategy | None, new_defaults: bool) -> OwnStrategy | None:
    """Return the strategy with which the session in a state directory goes on, None for the grid.

    What the user names of its parameters counts, then what the session was started with, then the class's defaults.

    Parameters
    ----------
    own : the one that the user names; None takes the session's.
    new_defaults : take the class's defaults for all that the user does not name.

    Raises
    ------
    ConfigError
        The session is that of another strategy, or its own cannot be loaded.
    """
    path = folder / FILE
    if not path.is_file() or StateFile(folder, place).peek() is None:
        return own
    stored = stored_values(_read(path))
    if stored is None and own is None:
        return None
    if stored is None or (own is not None and own.source != stored.source):
        whose, wanted = (stored.source if stored else "GridStrategyV4"), own.source if own else ""
        raise ConfigError(
            f"{folder}: a session of {whose} goes on there, which {wanted} does not continue; name another --state-dir"
        )
    try:
        found = own or load_strategy(stored.source)
        kept = found.with_values({} if new_defaults else stored.params)
        return kept.with_values({name: found.params[name] for name in found.named})
    except ConfigError as error:
        raise ConfigError(f"{path}, whose strategy this session keeps: {error}") from None


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
