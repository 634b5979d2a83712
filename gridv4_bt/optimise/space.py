"""The space file of `gridv4 optimize`: what is searched, on which data, for what, and within which limits."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from gridv4_bt.config import GridConfig, check_parameter, parameter_of, read_toml
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.figures import FIGURES, SHARES, Figures

#: Classes of symbols by volatility, by how many there are.
CLASSES = {1: (), 2: ("calm", "wild"), 3: ("calm", "middle", "wild")}

#: Samplers whose points depend on their number alone, not on how the points before them did.
FORGETFUL = ("grid", "random", "sobol")

_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>|=)\s*([-+.\deE]+)\s*(?:in\s+(.+?))?\s*")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Symbol(_Table):
    """A perpetual and its files, relative to the space file; without candles they are downloaded."""

    name: str = Field(min_length=1)
    candles: Path | None = None
    funding: Path | None = None
    mark: Path | None = None
    use: Literal["search", "test"] = "search"  #: a test symbol is seen by the finalists alone, after the search
    of_class: str = Field("", alias="class")  #: of `CLASSES`; where it is not given its volatility decides


class DateWindow(_Table):
    """A span of UTC days, both ends included; the ends of the data where they are left out."""

    name: str = Field(min_length=1)
    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")
    use: Literal["search", "test"] = "search"  #: a test window is seen by the finalists alone, after the search

    def overlaps(self, other: DateWindow) -> bool:
        """Return whether both have a day in common."""
        begins = max(one.first or date.min for one in (self, other))
        ends = min(one.last or date.max for one in (self, other))
        return begins <= ends


class Parameter(_Table):
    """The values of one parameter: a range, whole numbers where the parameter is one, or choices."""

    low: float | None = None
    high: float | None = None
    step: float | None = Field(None, gt=0)
    log: bool = False
    choices: tuple[Any, ...] = ()
    by_class: bool = False  #: one for each class of symbols, by names like ``wild.k``

    @model_validator(mode="after")
    def _one_of_both(self) -> Parameter:
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("give either low and high, or choices")
        if self.choices:
            if self.step is not None or self.log:
                raise ValueError("step and log belong to a range, not to choices")
            if len(set(self.choices)) < len(self.choices):
                raise ValueError("a choice comes twice")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("a range needs a low below its high")
        if self.log and (self.low <= 0.0 or self.step is not None):
            raise ValueError("a log range lies above 0 and has no step")
        return self


class Objective(_Table):
    """A figure to optimise over all wallets and search windows."""

    figure: str
    over: Literal["mean", "worst"] = "mean"

    @field_validator("figure")
    @classmethod
    def _known(cls, figure: str) -> str:
        if figure not in FIGURES:
            raise ValueError(f"no such figure; one of {', '.join(FIGURES)}")
        return figure

    @property
    def more_is_better(self) -> bool:
        """Whether a larger value is better."""
        return FIGURES[self.figure]

    def value(self, cells: list[Figures]) -> float:
        """Return the objective; a ratio that is not defined, as without any trade, counts 0."""
        values = [0.0 if cell[self.figure] is None else float(cell[self.figure]) for cell in cells]
        if self.over == "worst":
            return min(values) if self.more_is_better else max(values)
        return math.fsum(values) / len(values)


class Limit(_Table):
    """A bound that a figure keeps in every search window of every wallet, or in one window."""

    text: str
    figure: str
    sign: str
    bound: float
    window: str | None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``max_drawdown < 0.10`` or ``fills_per_day > 1 in NAME OF A WINDOW``."""
        match = _LIMIT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r}: write a limit like 'max_drawdown < 0.10' or 'fills_per_day > 1 in WINDOW'")
        figure, sign, number, window = match.groups()
        if figure not in FIGURES:
            raise ValueError(f"{text!r}: no such figure; one of {', '.join(FIGURES)}")
        try:
            bound = float(number)
        except ValueError:
            raise ValueError(f"{text!r}: {number} is no number") from None
        return cls(text=" ".join(text.split()), figure=figure, sign=sign.rstrip("=") or "=", bound=bound, window=window)

    @property
    def words(self) -> str:
        """The limit as a sentence has it: max drawdown < 10 %."""
        bound = f"{100.0 * self.bound:.6g} %" if self.figure in SHARES else f"{self.bound:.6g}"
        sign = {"<": "≤", ">": "≥"}.get(self.sign, "=") if "=" in self.text else self.sign
        return f"{self.figure.replace('_', ' ')} {sign} {bound}" + (f" in {self.window}" if self.window else "")

    def violation(self, value: float | None) -> float:
        """Return by how much a figure breaks the limit, relative to the bound; 0 or below: it keeps it."""
        if value is None:
            return 1.0
        scale = abs(self.bound) or 1.0
        if self.sign == "=":
            return abs(value - self.bound) / scale
        over = (value - self.bound if self.sign == "<" else self.bound - value) / scale
        touches = "=" not in self.text and over == 0.0
        return 1e-12 if touches else over


class SearchSettings(_Table):
    """How parameter sets are proposed, and how many."""

    sampler: Literal["grid", "random", "sobol", "tpe", "nsga2"] = "tpe"
    trials: int = Field(100, ge=2, le=1_000_000)
    seed: int = Field(0, ge=0)
    batch: int = Field(16, ge=1, le=10_000)  #: proposed at a time, whatever the number of jobs
    finalists: int = Field(3, ge=1, le=50)  #: run again in Backtrader
    tried_before: int = Field(0, ge=0)  #: trials made on this data in earlier searches, which deflate the result too
    engine: Literal["sweep", "backtrader"] = "sweep"
    storage: str = ""  #: SQLAlchemy URL; default an SQLite file in the result's folder


class Folds(_Table):
    """The walk-forward: within the first search window, each fold is searched by itself."""

    count: int = Field(4, ge=1, le=100)
    purge_days: int = Field(2, ge=0, le=365)
    train_share: float = Field(0.5, gt=0, lt=1)
    trials: int | None = Field(None, ge=2)  #: a fold; default as many as the search


class Space(_Table):
    """A whole space file."""

    symbols: tuple[Symbol, ...] = Field(min_length=1)
    windows: tuple[DateWindow, ...] = Field(min_length=1)
    objectives: tuple[Objective, ...] = Field(min_length=1)
    classes: Literal[1, 2, 3] = 1  #: of symbols by volatility, see `CLASSES`
    parameters: dict[str, Parameter] = Field(min_length=1)
    limits: tuple[Limit, ...] = ()
    fixed: dict[str, Any] = {}
    search: SearchSettings = SearchSettings()
    folds: Folds = Folds()
    cash: float = Field(10_000.0, gt=0)  #: of each wallet at the start of each window, quote
    wallet: Literal["each", "shared"] = "each"  #: each symbol has a wallet of its own, or all trade with one

    @field_validator("limits", mode="before")
    @classmethod
    def _limits(cls, texts: Any) -> Any:
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ValueError('write a list of texts like ["max_drawdown < 0.10"]')
        return tuple(map(Limit.parse, texts))

    @field_validator("parameters", mode="after")
    @classmethod
    def _by_class(cls, parameters: dict[str, Parameter], info: ValidationInfo) -> dict[str, Parameter]:
        classes = CLASSES[info.data.get("classes", 1)]
        found: dict[str, Parameter] = {}
        for name, parameter in parameters.items():
            if parameter.by_class and not classes:
                raise ValueError(f"{name}: by_class needs classes = 2 or 3")
            names = [f"{one}.{name}" for one in classes] if parameter.by_class else [name]
            found |= dict.fromkeys(names, parameter)
        if classes and not any(parameter.by_class for parameter in parameters.values()):
            raise ValueError("classes: no parameter has by_class = true")
        return found

    @model_validator(mode="after")
    def _fits_together(self) -> Space:
        self._check_repeats()
        if not self.search_symbols:
            raise ValueError('symbols: at least one needs use = "search"')
        if len(self.search_symbols) < self.classes:
            raise ValueError(f"classes: {self.classes} of them need as many symbols to search")
        for symbol in self.symbols:
            if symbol.of_class and symbol.of_class not in CLASSES[self.classes]:
                raise ValueError(f"symbols: {symbol.name}: no class {symbol.of_class!r} with classes = {self.classes}")
        self._check_windows()
        self._check_fixed()
        for name, parameter in self.parameters.items():
            self._check_parameter(name, parameter)
        return self

    def _check_repeats(self) -> None:
        for what, names in (("symbols", self.symbols), ("windows", self.windows), ("objectives", self.objectives)):
            keys = [getattr(one, "name", None) or one.figure for one in names]
            if len(set(keys)) < len(keys):
                raise ValueError(f"{what}: {max(keys, key=keys.count)} is given twice")

    def _check_windows(self) -> None:
        if not self.search_windows:
            raise ValueError('windows: at least one needs use = "search"')
        for test in self.test_windows:
            for window in self.search_windows:
                if test.overlaps(window):
                    raise ValueError(f"windows: {test.name} is to be unseen, but shares days with {window.name}")
        searched = [window.name for window in self.search_windows]
        for limit in self.limits:
            if limit.window is not None and limit.window not in searched:
                raise ValueError(f"limits: {limit.text!r}: no search window has this name")

    def _check_fixed(self) -> None:
        for name, value in self.fixed.items():
            if name in self.parameters:
                raise ValueError(f"fixed: {name} is searched already")
            _check(f"fixed.{name}", name, value)

    def _check_parameter(self, name: str, parameter: Parameter) -> None:
        where = f"parameters.{name}"
        for value in parameter.choices or (parameter.low, parameter.high):
            _check(where, name, value)
        if parameter.choices:
            return
        if self.is_whole(name):
            numbers = (parameter.low, parameter.high, 1 if parameter.step is None else parameter.step)
            if any(float(number) != int(number) for number in numbers):
                raise ValueError(f"{where}: whole numbers are needed")
        elif parameter.step is None and self.search.sampler == "grid":
            raise ValueError(f"{where}: the grid sampler needs a step or choices")

    @property
    def search_symbols(self) -> tuple[Symbol, ...]:
        """The symbols the search sees."""
        return tuple(symbol for symbol in self.symbols if symbol.use == "search")

    @property
    def search_windows(self) -> tuple[DateWindow, ...]:
        """The windows the search sees; the first is the one of the walk-forward and the guards."""
        return tuple(window for window in self.windows if window.use == "search")

    @property
    def test_windows(self) -> tuple[DateWindow, ...]:
        """The windows the search does not see."""
        return tuple(window for window in self.windows if window.use == "test")

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a run: fixed and searched ones, those of a class for each of its symbols."""
        found = dict(self.fixed)
        for name, value in params.items():
            of_class, dot, bare = name.rpartition(".")
            members = [one.name for one in self.symbols if one.of_class == of_class]
            found |= {f"{symbol}.{bare}": value for symbol in members} if dot else {name: value}
        return found

    @staticmethod
    def is_whole(name: str) -> bool:
        """Return whether a parameter takes whole numbers only."""
        return GridConfig.model_fields[parameter_of(name)].annotation is int

    def fingerprint(self, data: str) -> str:
        """Return a hash of everything the results of numbered trials depend on; `data` is the hash of the data."""
        later = {"search": {"trials", "finalists", "tried_before", "storage"}, "folds": True}
        content = self.model_dump(mode="json", exclude=later)
        content["windows"] = [one for one in content["windows"] if one["use"] == "search"]
        # Where the files lie does not matter, nor what the search does not see.
        content["symbols"] = [{"name": symbol.name} for symbol in self.search_symbols]
        if self.search.sampler in FORGETFUL:
            content.pop("limits")  # they choose among the trials, and do not say what is tried
        if self.wallet == "each":
            content.pop("wallet")  # as before there was another
        if self.classes == 1:
            content.pop("classes")
            content["parameters"] = {
                name: {key: value for key, value in one.items() if key != "by_class"}
                for name, one in content["parameters"].items()
            }
        else:
            content["symbols"] = [{"name": one.name, "class": one.of_class} for one in self.search_symbols]
        text = json.dumps([content, data], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_space(path: Path) -> Space:
    """Return the space of a TOML file; its files are looked for beside it.

    Raises
    ------
    ConfigError
        Naming each field that is wrong, and why.
    """
    content = read_toml(path)
    try:
        space = Space(**content)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(map(_explain, error.errors()))) from None
    return space.model_copy(update={"symbols": tuple(_beside(path.parent, symbol) for symbol in space.symbols)})


def _beside(folder: Path, symbol: Symbol) -> Symbol:
    files = {kind: getattr(symbol, kind) for kind in ("candles", "funding", "mark")}
    return symbol.model_copy(update={kind: folder / file for kind, file in files.items() if file is not None})


def _check(where: str, name: str, value: Any) -> None:
    is_known = parameter_of(name) in GridConfig.model_fields
    if is_known and isinstance(value, float) and value.is_integer() and Space.is_whole(name):
        value = int(value)
    try:
        check_parameter(name, value)
    except ConfigError as error:
        raise ValueError(f"{where}: {error}") from None
    if value == "detail":
        raise ValueError(f"{where}: finer candles are not for searches")


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    text = item["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
