"""A strategy of the user's own: loaded from a file or a module, its parameters taken from settings.

A settings file names it and its parameters, which are those of the class:

    leverage = 3.0                        # of the exchange, see `gridv4 params`

    [run]
    strategy = "my_strategies/cross.py:MovingAverageCross"

    [MovingAverageCross]
    fast = 20
"""

import importlib
import importlib.util
import math
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import backtrader as bt

from gridv4_bt.config import OF_ANY_STRATEGY, GridConfig, config_as_toml, is_of_strategy
from gridv4_bt.errors import ConfigError, StrategyError

#: Prefix of a parameter of the exchange where the strategy has one of the same name.
EXCHANGE = "exchange"
_SHAPE = "write PATH/TO/FILE.py:CLASS or MODULE:CLASS"
_TOML = (bool, int, float, str, list, tuple, date, time)  #: types that a settings file can hold


@dataclass(frozen=True)
class StrategyValues:
    """What a settings file knows of a strategy: where it is, and the values of its parameters."""

    source: str  #: that loads it: a file's path or a module, a colon, the name of the class
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.source.rpartition(":")[2]

    def as_toml(self) -> str:
        """Return the tables of a settings file that make the same strategy with the same values."""
        lines = ["[run]", f"strategy = {_toml(self.source)}", "", f"[{self.name}]"]
        for name, value in self.params.items():
            if isinstance(value, _TOML):
                lines.append(f"{name} = {_toml(value)}")
            else:
                lines.append(f"# {name} = {' '.join(repr(value).split())}: as {self.name} has it")
        return "\n".join(lines) + "\n"


def stored_values(content: Mapping[str, Any]) -> StrategyValues | None:
    """Return what a settings file says of a strategy of the user's own, None if it names none."""
    source = (content.get("run") or {}).get("strategy", "")
    return StrategyValues(source, content.get(source.rpartition(":")[2], {})) if source else None


@dataclass(frozen=True)
class OwnStrategy(StrategyValues):
    """A strategy class with the values of all its parameters, those that nobody named with their defaults."""

    kind: type[bt.Strategy]
    named: frozenset[str] = frozenset()  #: parameters that a file or an option names

    def with_values(self, values: Mapping[str, Any]) -> "OwnStrategy":
        """Return it with other values of some parameters, each of the type of its default.

        Raises
        ------
        ConfigError
            A name is unknown, or a value is of another type.
        """
        taken = {name: self.value_of(name, value) for name, value in values.items()}
        return replace(self, params={**self.params, **taken}, named=self.named | taken.keys())

    def value_of(self, name: str, value: Any) -> Any:
        """Return a value as the type of the parameter's default; a text is read as that type.

        Raises
        ------
        ConfigError
            The name is unknown, or the value is of another type.
        """
        defaults = _defaults(self.kind)
        if name not in defaults:
            near = get_close_matches(name, defaults, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{name}: {self.name} has no such parameter; {hint}it has {', '.join(defaults) or 'none'}"
            )
        default = defaults[name]
        try:
            return _as_type_of(default, value)
        except ValueError as error:
            raise ConfigError(
                f"{self.name}.{name}: expected {error} as its default {default!r}, got {value!r}"
            ) from None

    def delayed(self, bars: int) -> type[bt.Strategy]:
        """Return the class, which comes to `next` only after so many bars."""
        kind = self.kind
        if not bars:
            return kind

        def periods(strategy: Any) -> None:
            kind._periodset(strategy)
            strategy._minperiods = [max(period, bars + 1) for period in strategy._minperiods]
            strategy._minperiod = max(strategy._minperiods)

        return type(kind.__name__, (kind,), {"_periodset": periods, "__module__": kind.__module__})

    @contextmanager
    def failures(self, *passing: type[Exception]) -> Iterator[None]:
        """Tell of an error that the strategy's own code raises, with its line; errors of the kinds `passing` are not.

        Raises
        ------
        StrategyError
            In place of the error.
        """
        try:
            yield
        except passing:
            raise
        except Exception as error:
            home = Path(sys.modules[self.kind.__module__].__file__ or "").resolve()
            if (where := _line_of(error, home)) is None:
                raise
            raise StrategyError(f"{self.name} failed at {where}: {_told(error)}") from error


def run_as_toml(config: GridConfig, own: StrategyValues | None = None) -> str:
    """Return the settings file of a run: every parameter that acts in it, as used; it makes the same run again."""
    if own is None:
        return config_as_toml(config)
    return f"{config_as_toml(config, OF_ANY_STRATEGY)}\n{own.as_toml()}"


def load_strategy(source: str) -> OwnStrategy:
    """Return the strategy that ``FILE.py:CLASS`` or ``MODULE:CLASS`` names, with its defaults.

    Raises
    ------
    ConfigError
        There is no such file, module or class, it is no Backtrader strategy, or importing it fails.
    """
    place, colon, name = source.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ConfigError(f"--strategy {source}: {_SHAPE}")
    is_file = place.endswith(".py")
    module = _module_of_file(source, Path(place)) if is_file else _module(source, place)
    kind = getattr(module, name, None)
    if kind is None:
        classes = _strategies(module)
        near = get_close_matches(name, classes, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"--strategy {source}: no class {name}; {hint}strategies there: {', '.join(classes) or 'none'}"
        )
    if not (isinstance(kind, type) and issubclass(kind, bt.Strategy)):
        raise ConfigError(f"--strategy {source}: {name} is no strategy; derive it from bt.Strategy")
    return OwnStrategy(f"{Path(place).resolve()}:{name}" if is_file else source, _defaults(kind), kind)


def _module_of_file(source: str, path: Path) -> ModuleType:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise ConfigError(f"--strategy {source}: {path}: {found}; {_SHAPE}")
    full = path.resolve()
    known = sys.modules.get(full.stem)
    # A file of the name of a package that is loaded, such as random.py, must not take its place.
    name = full.stem if known is None or getattr(known, "__file__", None) == str(full) else f"own_{full.stem}"
    if (loaded := sys.modules.get(name)) is not None and getattr(loaded, "__file__", None) == str(full):
        return loaded
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:  # what ends in .py has one
        raise ConfigError(f"--strategy {source}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    if str(full.parent) not in sys.path:
        sys.path.append(str(full.parent))  # what it imports may lie beside it
    sys.modules[name] = module  # Backtrader looks a class's module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _import_error(source, error, full) from error
    return module


def _module(source: str, name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _import_error(source, error, None) from error
        raise ConfigError(
            f"--strategy {source}: no module {error.name} in this folder or installed; {_SHAPE}"
        ) from None
    except Exception as error:
        raise _import_error(source, error, None) from error


def _import_error(source: str, error: Exception, path: Path | None) -> ConfigError:
    if isinstance(error, SyntaxError):
        return ConfigError(f"--strategy {source}: {error.filename} line {error.lineno}: {error.msg}")
    where = _line_of(error, path)
    return ConfigError(f"--strategy {source}: cannot be imported: {_told(error)}" + (f" at {where}" if where else ""))


def _line_of(error: Exception, path: Path | None) -> str | None:
    """Return file, line and text where the user's file raised, of any file outside importlib without a path."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if (Path(frame.filename).resolve() == path if path else not frame.filename.startswith("<frozen"))
    ]
    if not own or (path is None and len(own) < 3):
        return None
    return f"{own[-1].filename} line {own[-1].lineno} ({own[-1].line})"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _strategies(module: ModuleType) -> list[str]:
    own = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, bt.Strategy))
    return [kind.__name__ for kind in own if kind.__module__ == module.__name__]


def _defaults(kind: type[bt.Strategy]) -> dict[str, Any]:
    return dict(kind.params._getitems())


def _as_type_of(default: Any, value: Any) -> Any:
    """Return a value as the type of a default; raise ValueError, whose text is the type expected."""
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        if isinstance(value, bool) or str(value).lower() not in words:
            return _same(value, bool, "true or false")
        return words[str(value).lower()]
    if isinstance(default, int):
        return _number(value, int, "a whole number")
    if isinstance(default, float):
        return _number(value, float, "a number")
    if isinstance(default, str):
        return _same(value, str, "a text")
    if default is None:
        return _literal(value)
    if isinstance(default, (list, tuple)):
        return type(default)(_same(_literal(value), list, "a list such as [1, 2]"))
    raise ValueError("no value from settings: it is set in the strategy's file alone,")


def _number(value: Any, kind: type, words: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(words)
    if kind is int and isinstance(value, float):
        raise ValueError(words)
    try:
        number = kind(value)
    except ValueError:
        raise ValueError(words) from None
    if not math.isfinite(number):
        raise ValueError(words)
    return number


def _same(value: Any, kind: type, words: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(words)
    return value


def _literal(value: Any) -> Any:
    """Return a text as the value that a settings file would have in it, as text where it would have none."""
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(one if one >= " " else f"\\u{ord(one):04x}" for one in plain) + '"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return value.isoformat() if isinstance(value, (date, time)) else repr(value)


def split_settings(
    own: OwnStrategy, files: Mapping[Path, Mapping[str, Any]], settings: Sequence[str], exchange: Sequence[str]
) -> tuple[OwnStrategy, list[str]]:
    """Return the strategy with what its tables and ``name=value`` settings say, and the settings of the exchange.

    Parameters
    ----------
    files : the contents of the settings files, a later one over an earlier.
    exchange : names of the parameters that act whatever strategy trades.

    Raises
    ------
    ConfigError
        A name is unknown or belongs to both, or a value is of another type.
    """
    for path, content in files.items():
        if own.name not in content and (
            near := get_close_matches(own.name, filter(is_of_strategy, content), n=1, cutoff=0.8)
        ):
            raise ConfigError(f"{path}: [{near[0]}]: the strategy is {own.name}; name the table [{own.name}]")
        try:
            own = own.with_values(content.get(own.name, {}))
        except ConfigError as error:
            raise ConfigError(f"{path}: [{own.name}]: {error}") from None
    others = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        whose, bare = whose_parameter(own, name.strip(), exchange) if equals else (EXCHANGE, name)
        if whose == EXCHANGE:
            others.append(f"{bare}{equals}{text}")
        else:
            own = own.with_values({bare: text.strip()})
    return own, others


def whose_parameter(own: OwnStrategy, name: str, exchange: Sequence[str]) -> tuple[str, str]:
    """Return whether a name means a parameter of the strategy or of the exchange, and the name alone.

    ``Class.name`` is the strategy's and ``exchange.name`` the exchange's; a name alone is of the one that has it.

    Raises
    ------
    ConfigError
        Neither or both have it.
    """
    prefix, point, bare = name.rpartition(".")
    mine = own.params
    if point:
        if prefix not in (own.name, EXCHANGE):
            raise ConfigError(
                f"{name}: write {own.name}.{bare} for the strategy's, {EXCHANGE}.{bare} for the exchange's"
            )
        known = mine if prefix == own.name else exchange
        if bare in known:
            return prefix, bare
    elif name in mine and name in exchange:
        raise ConfigError(
            f"{name}: {own.name} and the exchange both have it; write {own.name}.{name} or {EXCHANGE}.{name}"
        )
    elif name in mine or name in exchange:
        return (own.name if name in mine else EXCHANGE), name
    near = get_close_matches(bare, [*mine, *exchange], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{name}: no parameter of {own.name} or the exchange; {hint}{own.name} has {', '.join(mine) or 'none'}, the "
        f"exchange {', '.join(exchange)}"
    )
