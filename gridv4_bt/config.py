"""Every parameter of the product: name, unit, bounds, default and one line of meaning.

This list is the only one. The strategy's and the broker's Backtrader ``params``, the TOML
file, ``--set name=value``, ``gridv4 params`` and the help text all come from it. A *defined* number belongs to the
definition of GridStrategyV4: a run may depart from it, and then says so.
"""

import errno
import os
import re
import reprlib
import select
import stat
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from gridv4_bt.errors import ConfigError

#: Most bytes of a JSON file of rules; a history of all brackets of an exchange is a hundredth of it.
JSON_LIMIT = 64 << 20
#: Most bytes of a TOML file: ten times all parameters with their meaning. Its reader is slow on long nonsense.
TOML_LIMIT = 64 << 10
#: Most points between two = of such a file: those of names, and of the numbers of a list.
_MOST_POINTS = 2_000
#: Shows a wrong value in a message, however long or deep it is.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
#: A pipe that brings nothing for so long is given up, seconds.
PIPE_WAIT = 30.0

#: What the name of an environment variable that is a setting begins with: GRIDV4__LEVELS=6.
ENVIRONMENT = "GRIDV4__"
_OPTION = "--set"

Intrabar = Literal["pessimistic", "path", "detail"]  #: see `gridv4_bt.engine.intrabar`


def _parameter(default: Any, unit: str, meaning: str, section: str, defined: bool, **bounds: float) -> Any:
    extra = {"unit": unit, "section": section, "defined": defined}
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


def _signal(default: Any, unit: str, meaning: str, defined: bool = False, **bounds: float) -> Any:
    return _parameter(default, unit, meaning, "signals", defined, **bounds)


def _grid(default: Any, unit: str, meaning: str, defined: bool = False, **bounds: float) -> Any:
    return _parameter(default, unit, meaning, "grid", defined, **bounds)


def _size(default: Any, unit: str, meaning: str, defined: bool = False, **bounds: float) -> Any:
    return _parameter(default, unit, meaning, "sizing", defined, **bounds)


def _guard(default: Any, unit: str, meaning: str, defined: bool = False, **bounds: float) -> Any:
    return _parameter(default, unit, meaning, "guards", defined, **bounds)


def _exchange(default: Any, unit: str, meaning: str, defined: bool = False, **bounds: float) -> Any:
    return _parameter(default, unit, meaning, "exchange", defined, **bounds)


class GridConfig(BaseModel):
    """All parameters of a run, validated. Fractions: 0.01 is 1 %; bars: 15 minutes each."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    regime: Literal["kama", "gmm", "none"] = _signal(
        "kama", "name", "regime filter; gmm needs scikit-learn, none lets both sides trade always"
    )
    er_bars: int = _signal(10, "bars", "window of the efficiency ratio and of KAMA", defined=True, ge=2, le=10_000)
    kama_fast: int = _signal(2, "bars", "of the average that KAMA is in a straight move", defined=True, ge=1, le=1_000)
    kama_slow: int = _signal(30, "bars", "of the average that KAMA is in noise", defined=True, ge=2, le=10_000)
    atr_bars: int = _signal(14, "bars", "of Wilder's average true range", defined=True, ge=1, le=10_000)
    adx_bars: int = _signal(14, "bars", "of Wilder's average directional index", defined=True, ge=2, le=10_000)
    adx_min: float = _signal(25.0, "ADX", "a trend with a weaker one is noise", defined=True, ge=0, le=100)
    z_bars: int = _signal(20, "bars", "of the simple average in the circuit breaker's z", defined=True, ge=2, le=10_000)
    breakout_slope: float = _signal(0.25, "ATR per bar", "slope from which a move is a breakout", gt=0, le=10)
    trend_slope: float = _signal(0.05, "ATR per bar", "slope from which a move is a trend", gt=0, le=10)
    hysteresis: float = _signal(0.5, "factor", "on the thresholds of the state that already rules", gt=0, le=1)
    gmm_components: int = _signal(5, "components", "of the Gaussian mixture, 2 to 5; 0: the BIC chooses", ge=0, le=5)
    gmm_window: int = _signal(2_880, "bars", "a mixture is fitted on", ge=480, le=100_000)
    gmm_refit: int = _signal(96, "bars", "of the clock between two fits of the mixture", ge=1, le=10_000)
    gmm_stride: int = _signal(4, "bars", "from one fitted bar of the window to the next; 1 takes all", ge=1, le=16)
    gmm_span: int = _signal(16, "bars", "of the return that the mixture sees", ge=1, le=1_000)
    gmm_trend: float = _signal(0.5, "random-walk deviations", "drift from which a component is a trend", ge=0, le=10)
    gmm_breakout: float = _signal(1.0, "random-walk deviations", "drift of a breakout component", gt=0, le=10)
    gmm_dwell: int = _signal(4, "bars", "the mixture's regime stays at least", ge=1, le=1_000)
    warm_up: int = _signal(
        0, "bars", "history before trading begins; never less than the indicators need", ge=0, le=1_000_000
    )
    sigma_bars: int = _signal(96, "bars", "window of the volatility", ge=2, le=10_000)

    k: float = _grid(0.8, "ATR", "distance between two levels", gt=0, le=100)
    floor_pct: float = _grid(0.004, "fraction of price", "least distance between two levels", gt=0, lt=0.5)
    levels: int = _grid(15, "levels", "on each side of the centre", ge=1, le=100)
    gamma: float = _grid(1.0, "dimensionless", "risk aversion of the reservation price", ge=0, le=1_000)
    kappa: float = _grid(30.0, "dimensionless", "decay of the fill rate with distance", gt=0, le=1e7)
    spread_sigmas: float = _grid(
        0.0, "sigmas of a bar", "half the spread, in place of kappa; 0: kappa gives it", ge=0, le=1_000
    )
    horizon: int = _grid(30, "bars", "over which inventory is feared", ge=1, le=100_000)
    reopen_bars: int = _grid(4, "bars", "a level stays closed after a fill was cut there at a loss", ge=0, le=10_000)
    nudge_pct: float = _grid(
        0.0015, "fraction of price", "least distance of a level from a round number", defined=True, ge=0, lt=0.005
    )
    trail_share: float = _grid(
        0.5, "fraction", "of a close's way beyond the top level that the anchor follows", defined=True, ge=0, le=1
    )
    keep_price: float = _grid(0.25, "fraction of spacing", "a resting order this near is kept", ge=0, lt=0.5)
    keep_qty: float = _grid(0.15, "fraction of qty", "a resting order this alike in size is kept", ge=0, lt=1)

    order_pct: float = _size(0.05, "fraction of equity", "notional of one level before multipliers", gt=0, le=1)
    max_inventory: float = _size(1.0, "multiple of equity", "largest notional of one side", gt=0, le=100)
    kelly_fraction: float = _size(0.25, "fraction", "of the full Kelly bet", defined=True, gt=0, le=10)
    kelly_window: int = _size(50, "trades", "how many closed trades count", ge=1, le=100_000)
    kelly_min_trades: int = _size(20, "trades", "fewer than this say nothing: multiplier 1", ge=1, le=100_000)
    kelly_floor: float = _size(0.25, "multiplier", "smallest Kelly multiplier", gt=0, le=100)
    kelly_cap: float = _size(2.0, "multiplier", "largest Kelly multiplier", gt=0, le=100)

    funding_tilt: float = _size(
        0.25, "fraction", "more on the side that receives funding, less on the one that pays", defined=True, ge=0, lt=1
    )
    cooldown_stops: int = _size(
        2, "stops", "more in `cooldown_bars` bars make orders smaller", defined=True, ge=0, le=20
    )
    cooldown_bars: int = _size(48, "bars", "in which stops are counted", defined=True, ge=1, le=100_000)
    cooldown_factor: float = _size(0.5, "factor", "on the size of orders after so many stops", defined=True, gt=0, le=1)

    z_halt: float = _guard(-3.0, "ATR", "z below which new entries halt", defined=True, ge=-1_000, lt=0)
    z_resume: float = _guard(-1.0, "ATR", "z above which they resume", defined=True, ge=-1_000, le=1_000)
    stop1_atr: float = _guard(9.0, "ATR", "from the average entry to the first stop", gt=0, le=1_000)
    stop1_share: float = _guard(0.5, "fraction", "of the leg that the first stop closes", defined=True, gt=0, le=1)
    stop2_atr: float = _guard(13.0, "ATR", "from the average entry to the second stop", gt=0, le=1_000)
    margin_call: float = _guard(0.8, "maintenance margin / equity", "above it the worst fills are closed", gt=0, lt=1)
    margin_target: float = _guard(0.5, "maintenance margin / equity", "down to which they are closed", gt=0, lt=1)
    liquidation_warning: float = _guard(0.05, "fraction of price", "nearest liquidation price that warns", ge=0, lt=1)
    var_pct: float = _guard(0.10, "fraction of equity", "one-day value at risk that stops new entries", gt=0, le=10)
    var_z: float = _guard(
        1.65, "standard deviations", "of a day's move in the value at risk", defined=True, gt=0, le=100
    )
    delever_share: float = _guard(
        0.75,
        "fraction of the VaR limit",
        "as unrealised loss from which the worst fill is closed",
        defined=True,
        gt=0,
        le=100,
    )
    deviance_atr: float = _guard(
        3.0,
        "ATR",
        "of the close from KAMA, against the side, beyond which its fills are cut; 0: off",
        defined=True,
        ge=0,
        le=1_000,
    )
    max_age_hours: float = _guard(
        24.0, "hours", "beyond which a fill is cut as too old; 0: off", defined=True, ge=0, le=1_000_000
    )
    gap_spacings: float = _guard(
        3.0, "spacings", "of the price against a fill beyond which it is cut; 0: off", defined=True, ge=0, le=1_000
    )
    funding_share: float = _guard(
        0.5, "fraction of grid profit", "paid as funding beyond which a fill is cut; 0: off", defined=True, ge=0, le=100
    )
    offset_spacings: float = _guard(
        1.0, "spacings", "under water before a profit may offset a fill; 0: off", ge=0, le=100
    )

    leverage: float = _exchange(5.0, "multiple", "initial margin is notional / leverage", ge=1, le=125)
    cap_leg: float = _exchange(0.0, "multiple of equity", "notional of a leg with its entries; 0: no cap", ge=0, le=200)
    cap_symbol: float = _exchange(0.0, "multiple of equity", "of both legs of a symbol; 0: no cap", ge=0, le=200)
    cap_side: float = _exchange(0.0, "multiple of equity", "of one side of all symbols; 0: no cap", ge=0, le=200)
    cap_gross: float = _exchange(0.0, "multiple of equity", "of both sides of all symbols; 0: no cap", ge=0, le=200)
    cap_net: float = _exchange(
        0.0, "multiple of equity", "of one side of all symbols less what the other holds; 0: no cap", ge=0, le=200
    )
    maker_fee: float = _exchange(0.0002, "fraction of notional", "of a resting order that fills", ge=-0.001, lt=0.05)
    taker_fee: float = _exchange(0.0005, "fraction of notional", "of market and stop orders", ge=0, lt=0.05)
    slippage: float = _exchange(0.0002, "fraction of price", "of market and stop orders", ge=0, lt=0.5)
    liquidation_fee: float = _exchange(0.0125, "fraction of notional", "of a liquidation", ge=0, lt=0.5)
    fill_rule: Literal["touch", "through"] = _exchange(
        "touch", "name", "a limit fills when the bar touches its price, or only when it trades through"
    )
    intrabar: Intrabar = _exchange(
        "pessimistic", "name", "how the inside of a bar is matched; path or detail instead of the worst order"
    )
    funding_hours: float = _exchange(8.0, "hours", "between settlements when the data has no funding", ge=0.25, le=24)

    def of(self, symbol: str) -> "GridConfig":
        """Return the parameters with which a symbol is traded, see `PortfolioConfig`."""
        return self

    @property
    def variants(self) -> list["GridConfig"]:
        """All sets of parameters with which symbols are traded, first that of the symbols not named."""
        return [self]

    @property
    def mixture(self) -> dict[str, float]:
        """The parameters of the Gaussian mixture by the names that `GMMRegime` has for them."""
        values = self.model_dump()
        own = {name.removeprefix("gmm_"): value for name, value in values.items() if name.startswith("gmm_")}
        return {"n": self.er_bars, **own}

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any) -> Any:
        # Python counts true as 1; here it is always a mistake.
        if isinstance(value, bool):
            raise ValueError("no parameter is a switch, expected a number or a name")
        return value

    @model_validator(mode="after")
    def _contradictions(self) -> "GridConfig":
        ordered = (
            ("kama_fast", "kama_slow", "the fast average has fewer bars than the slow one"),
            ("trend_slope", "breakout_slope", "a breakout is steeper than a trend"),
            ("gmm_trend", "gmm_breakout", "a breakout drifts more than a trend"),
            ("z_halt", "z_resume", "a halt ends at a higher z than it begins"),
            ("stop1_atr", "stop2_atr", "stage 2 must lie farther away than stage 1"),
            ("margin_target", "margin_call", "the margin call ends below where it starts"),
            ("kelly_floor", "kelly_cap", "the floor may not lie above the cap"),
            ("kelly_min_trades", "kelly_window", "the window must hold the trades asked for"),
        )
        if self.gmm_components == 1:
            raise ValueError("gmm_components = 1: a mixture has at least 2 components; 0 lets the BIC choose")
        strict = {"kama_fast", "z_halt", "stop1_atr", "margin_target", "trend_slope", "gmm_trend"}
        for low, high, reason in ordered:
            a, b = getattr(self, low), getattr(self, high)
            if a > b or (a == b and low in strict):
                raise ValueError(f"{low} = {a} against {high} = {b}: {reason}")
        return self


class PortfolioConfig(GridConfig):
    """Parameters of a run in which some symbols have other ones than the rest."""

    symbols: dict[str, dict[str, Any]]  #: by symbol what is different there, validated by `config_of`

    def of(self, symbol: str) -> GridConfig:
        """Return the parameters with which a symbol is traded."""
        common = {name: getattr(self, name) for name in GridConfig.model_fields}
        return GridConfig(**common | self.symbols.get(symbol, {}))

    @property
    def variants(self) -> list[GridConfig]:
        """All sets of parameters with which symbols are traded, first that of the symbols not named."""
        return [self.of(symbol) for symbol in ("", *self.symbols)]


class RunSettings(BaseModel):
    """What a settings file's table ``[run]`` says of a backtest or a session beside its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    symbol: list[str] = Field([], description="perpetuals to trade, such as BTC/USDT:USDT")
    exchange: Literal["binanceusdm", "bybit", "okx"] = Field(
        "binanceusdm", description="where market data is downloaded from; orders go to binanceusdm alone"
    )
    cash: float = Field(10_000.0, gt=0, description="wallet of a backtest or paper session, quote currency")
    paper: bool = Field(False, description="trade on paper unless --demo or --endpoint is given")
    strategy: str = Field("", description="one of your own, FILE.py:CLASS or MODULE:CLASS; its table has its name")


class SettingsFile(GridConfig):
    """A settings file: parameters, and the table ``[run]``."""

    run: RunSettings = Field(RunSettings(), description="what is traded, and with how much")


class Setting(NamedTuple):
    """A value that is named somewhere, and where."""

    value: Any
    origin: str  #: such as `gridv4.toml line 3`


def backtrader_params(*sections: str) -> tuple[tuple[str, Any], ...]:
    """Return ``(name, default)`` pairs of the given sections (all if none) for a ``params`` tuple."""
    return tuple(
        (name, field.default)
        for name, field in GridConfig.model_fields.items()
        if not sections or field.json_schema_extra["section"] in sections
    )


#: The parameters that act whatever strategy trades: those of the exchange, and the history before trading begins.
OF_ANY_STRATEGY = ("warm_up", *(name for name, _ in backtrader_params("exchange")))


#: The parameters that are one for all symbols of a wallet: of the exchange, of the history and of the whole account,
#: whose value at risk has one window of volatility.
OF_ACCOUNT = frozenset(OF_ANY_STRATEGY) | {
    "sigma_bars", "margin_call", "margin_target", "liquidation_warning", "var_pct", "var_z", "delever_share",
}  # fmt: skip
#: The table of a settings file with the parameters of single symbols: ``[symbols.BTCUSDT]``.
BY_SYMBOL = "symbols"


class _Plain:
    """An object with attributes and nothing else."""


def plain_copy(config: GridConfig) -> GridConfig:
    """Return the parameters as attributes of a plain object, which take a quarter of a model's time to read."""
    plain = _Plain()
    vars(plain).update(vars(config))
    return cast(GridConfig, plain)


def section_of(name: str) -> str:
    """Return the section of a parameter."""
    return str(GridConfig.model_fields[name].json_schema_extra["section"])


def unit_of(name: str) -> str:
    """Return the unit of a parameter."""
    return str(GridConfig.model_fields[name].json_schema_extra["unit"])


def is_defined(name: str) -> bool:
    """Return whether the definition gives a parameter's default."""
    return bool(GridConfig.model_fields[name].json_schema_extra["defined"])


def bounds(name: str) -> str:
    """Return the values that a parameter may have: an interval like ``(0, 100]``, or the choices of a name."""
    field = GridConfig.model_fields[name]
    if choices := get_args(field.annotation):
        return " ".join(choices)
    limits = {type(limit).__name__.lower(): limit for limit in field.metadata}
    low = f"[{limits['ge'].ge}" if "ge" in limits else f"({limits['gt'].gt}"
    high = f"{limits['le'].le}]" if "le" in limits else f"{limits['lt'].lt})"
    return f"{low}, {high}"


def departures(config: GridConfig) -> dict[str, Any]:
    """Return the defined parameters that have another value than the definition gives, with that value."""
    fields = GridConfig.model_fields
    return {
        name: value
        for name, value in all_parameters(config).items()
        if is_defined(bare := parameter_of(name)) and value != fields[bare].default
    }


def departure_line(departed: Mapping[str, Any]) -> str:
    """Return one line that names each departure and, in brackets, what the definition gives."""
    fields = GridConfig.model_fields
    named = (f"{name} = {value:g} ({fields[parameter_of(name)].default:g})" for name, value in departed.items())
    return f"departs from the definition: {', '.join(named)}"


def all_parameters(config: GridConfig) -> dict[str, Any]:
    """Return the value of each parameter; those of single symbols come last, such as ``BTCUSDT.k``."""
    values = {name: getattr(config, name) for name in GridConfig.model_fields}
    by_symbol = config.symbols if isinstance(config, PortfolioConfig) else {}
    own = {f"{symbol}.{name}": value for symbol, some in by_symbol.items() for name, value in some.items()}
    return values | own


def parameter_of(name: str) -> str:
    """Return the parameter of a name of `all_parameters`: ``k`` of ``BTCUSDT.k``."""
    return name.rpartition(".")[2]


def changed_meanings(config: GridConfig) -> list[str]:
    """Return a line for each value that an earlier version took otherwise.

    Who names one of the other switches knows that 0 switches off.
    """
    switches = {"deviance_atr", "max_age_hours", "gap_spacings", "funding_share"}
    if config.offset_spacings != 0.0 or switches & config.model_fields_set:
        return []
    return [
        "offset_spacings = 0 switches offset off now; it meant 'any loss' until version 0.1: "
        "use a small number such as 0.0001"
    ]


def unknown_parameter(name: str) -> str:
    """Return the message about a name that is no parameter."""
    near = get_close_matches(name, GridConfig.model_fields, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{name}: unknown parameter; {hint}`gridv4 params` lists all"


def make_config(values: Mapping[str, Any]) -> GridConfig:
    """Return a validated config, or raise ConfigError naming each field that is wrong.

    A table ``symbols``, or names like ``BTCUSDT.k``, give single symbols parameters of their own.
    """
    return config_of({name: Setting(value, "") for name, value in flat_names(values).items()})


def flat_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of the table of single symbols by names like ``BTCUSDT.k``."""
    found = {}
    for name, value in values.items():
        if name == BY_SYMBOL and isinstance(value, Mapping):
            for symbol, some in value.items():
                if not isinstance(some, Mapping):
                    raise ConfigError(f"{BY_SYMBOL}.{symbol}: expected a table of parameters, got {_SHORT.repr(some)}")
                found |= {f"{symbol}.{one}": given for one, given in some.items()}
        else:
            found[name] = value
    return found


def config_of(named: Mapping[str, Setting]) -> GridConfig:
    """Return a validated config, or raise ConfigError naming each field that is wrong, and where it stands.

    Names like ``BTCUSDT.k`` are parameters of a symbol, which go before those of all, whatever layer names them.
    """
    common = {name: one for name, one in named.items() if "." not in name}
    config = _validated(common)
    by_symbol: dict[str, dict[str, Setting]] = {}
    for name, one in named.items():
        symbol, dot, bare = name.rpartition(".")
        if dot:
            by_symbol.setdefault(symbol, {})[bare] = one
    if not by_symbol:
        return config
    symbols = {}
    for symbol, some in by_symbol.items():
        for name in OF_ACCOUNT & some.keys():
            where = f"{some[name].origin}: " if some[name].origin else ""
            raise ConfigError(where + _one_for_all(f"{symbol}.{name}"))
        try:
            own = _validated(common | some)
        except ConfigError as error:
            raise ConfigError(f"{symbol}: {error}") from None
        symbols[symbol] = {name: getattr(own, name) for name in some}
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return PortfolioConfig(**given, symbols=symbols)


def _one_for_all(name: str) -> str:
    return f"{name}: {parameter_of(name)} is one for all symbols of a wallet; name it without a symbol"


def _validated(named: Mapping[str, Setting]) -> GridConfig:
    try:
        return GridConfig(**{name: one.value for name, one in named.items()})
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item, named) for item in error.errors())) from None


def check_parameter(name: str, value: Any) -> Any:
    """Return a value converted to the parameter's type; its fit with other parameters is not checked.

    Raises
    ------
    ConfigError
        The name is unknown, or the value out of the parameter's own bounds.
    """
    bare = parameter_of(name)
    if bare not in GridConfig.model_fields or (bare != name and bare in OF_ACCOUNT):
        raise ConfigError(unknown_parameter(name) if bare not in OF_ACCOUNT else _one_for_all(name))
    field = GridConfig.model_fields[bare]
    try:
        if isinstance(value, bool):
            raise ConfigError(f"{name}: no parameter is a switch, expected a number or a name")
        return TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    except ValidationError as error:
        item = error.errors()[0]
        raise ConfigError(f"{name}: {item['msg']}, got {_SHORT.repr(item['input'])}") from None


def _explain(item: Mapping[str, Any], named: Mapping[str, Setting]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    origin = named[name].origin if name in named else ""
    where = f"{origin}: " if origin and origin != _OPTION else ""  # what an option says is before the user's eyes
    if item["type"] == "extra_forbidden":
        return where + unknown_parameter(name)
    text = item["msg"].removeprefix("Value error, ")
    if name:
        return f"{where}{name}: {text}, got {_SHORT.repr(item['input'])}"
    # A contradiction belongs to no parameter alone.
    words = set(re.findall(r"\w+", text))
    places = [f"{key}: {one.origin}" for key, one in named.items() if key in words and one.origin not in ("", _OPTION)]
    return f"{text} ({', '.join(places)})" if places else text


def open_input(path: Path) -> tuple[int, bool]:
    """Open a file or pipe for reading; return its number and whether it is a pipe.

    Raises
    ------
    OSError
        It cannot be opened, or is something else, such as a device, from which reading may never end.
    """
    # Without O_NONBLOCK a pipe that nobody writes to would never be opened.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        os.close(number)
        raise OSError(errno.EINVAL, "is neither a file nor a pipe", str(path))
    return number, stat.S_ISFIFO(mode)


def read_pipe(number: int, limit: int) -> bytes:
    """Return all that comes through a pipe.

    Raises
    ------
    OSError
        Nothing comes for `PIPE_WAIT` seconds, or more than `limit` bytes.
    """
    parts, size = [], 0
    waiting = select.poll()
    waiting.register(number, select.POLLIN)
    while waiting.poll(PIPE_WAIT * 1000.0):
        part = os.read(number, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > limit:
            raise OSError(errno.EFBIG, f"more than {limit >> 10:,} kB came through the pipe")
    raise OSError(errno.ETIMEDOUT, f"nothing came through the pipe for {PIPE_WAIT:g} s")


def read_settings_text(path: Path, form: str, limit: int) -> str:
    """Return a file of settings in UTF-8, with or without a byte order mark; `form` is TOML or JSON.

    Raises
    ------
    ConfigError
        It is no file or pipe, larger than `limit` bytes, or in another encoding.
    """
    try:
        number, is_pipe = open_input(path)
        try:
            content = read_pipe(number, limit) if is_pipe else os.read(number, limit + 1)
        finally:
            os.close(number)
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"larger than {limit >> 10:,} kB")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid {form} (byte {error.start} is not UTF-8); save it as UTF-8") from None
    except ValueError as error:  # a NUL byte in the path
        raise ConfigError(f"{str(path)!r}: cannot be read ({error})") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    ConfigError
        It cannot be read.
    """
    text = read_settings_text(path, "TOML", TOML_LIMIT)
    if max(part.count(".") for part in text.split("=")) > _MOST_POINTS:  # a.a.a... takes a minute to be read
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a number of more than 4,300 digits too
        raise ConfigError(f"{path}: not valid TOML ({error})") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)") from None


def load_config(
    path: Path | None = None, settings: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> GridConfig:
    """Return the config of a TOML file, overridden by the environment and by ``name=value`` settings.

    Raises
    ------
    ConfigError
        File unreadable, setting without ``=``, unknown name, value out of bounds, contradiction.
    """
    return config_of(named_parameters([] if path is None else [path], settings, environment))


def named_parameters(
    paths: Iterable[Path] = (), settings: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> dict[str, Setting]:
    """Return what files, the environment and ``name=value`` settings name, the last of them where several do.

    The values are as they are written. Raises as `load_config`, but not for a value that is not allowed.
    """
    named: dict[str, Setting] = {}
    for path in paths:
        for name, value in flat_names(read_toml(path)).items():
            if not isinstance(value, dict) or not (name == "run" or is_of_strategy(name)):
                symbol, dot, bare = name.rpartition(".")
                named[name] = Setting(value, _line_of(path, bare, f"{BY_SYMBOL}.{symbol}" if dot else ""))
    variables = _environment(environment)
    named |= {name: one for name, one in variables.items() if name not in RunSettings.model_fields}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {setting}: expected name=value")
        named[name.strip()] = Setting(text.strip(), _OPTION)
    return named


def is_of_strategy(table: str) -> bool:
    """Return whether a settings file's table is that of a strategy of the user's own, whose class has its name."""
    return table[:1].isupper() and table.lower() != "run"


def named_run_settings(paths: Iterable[Path], environment: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """Return what the tables ``[run]`` of files and the environment name, validated.

    Raises
    ------
    ConfigError
        A file cannot be read, a name is unknown or a value not allowed.
    """
    named: dict[str, Setting] = {}
    for path in paths:
        table = read_toml(path).get("run", {}) if path.is_file() else {}  # a pipe is read once
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: run: expected a table [run], got {table!r}")
        for name, value in table.items():
            one = [value] if name == "symbol" and isinstance(value, str) else value
            named[name] = Setting(one, _line_of(path, name, "run"))
    for name, one in _environment(environment).items():
        if name in RunSettings.model_fields:
            value = one.value.replace(",", " ").split() if name == "symbol" else one.value
            named[name] = Setting(value, one.origin)
    try:
        checked = RunSettings(**{name: one.value for name, one in named.items()})
    except ValidationError as error:
        raise ConfigError("; ".join(_explain_run(item, named) for item in error.errors())) from None
    return {name: Setting(getattr(checked, name), one.origin) for name, one in named.items()}


def _explain_run(item: Mapping[str, Any], named: Mapping[str, Setting]) -> str:
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        near = get_close_matches(name, RunSettings.model_fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        names = ", ".join(RunSettings.model_fields)
        return f"{named[name].origin}: run.{name}: unknown setting; {hint}there are {names}"
    return f"{named[name].origin}: run.{name}: {item['msg']}, got {item['input']!r}"


def _environment(environment: Mapping[str, str] | None) -> dict[str, Setting]:
    found = {name: text for name, text in (environment or {}).items() if name.startswith(ENVIRONMENT)}
    return {
        _named_by(name.removeprefix(ENVIRONMENT)): Setting(text.strip(), f"environment {name}")
        for name, text in sorted(found.items())
    }


def _named_by(variable: str) -> str:
    """Return the setting that the rest of a variable's name names: ``BTCUSDT__K`` is ``BTCUSDT.k``."""
    symbol, dot, name = variable.rpartition("__")
    return f"{symbol}.{name.lower()}" if dot else name.lower()


def _line_of(path: Path, name: str, table: str = "") -> str:
    """Return the file and the line in which it names a key, the file alone where that is not found."""
    inside = ""
    if not path.is_file():
        return str(path)
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\]]*?)\s*\]", line):
            inside = header[1]
        elif inside == table and re.match(rf"""\s*["']?{re.escape(name)}["']?\s*=""", line):
            return f"{path} line {number}"
    return str(path)


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of a settings file, for editors."""
    schema = SettingsFile.model_json_schema()
    tables = {"^(?![Rr][Uu][Nn]$)[A-Z]": {"type": "object", "description": "parameters of a strategy of your own"}}
    own = GridConfig.model_fields.keys() - OF_ACCOUNT
    properties = {name: {"$ref": f"#/properties/{name}"} for name in schema["properties"] if name in own}
    of_one = {"type": "object", "additionalProperties": False, "properties": properties}
    schema["properties"][BY_SYMBOL] = {
        "type": "object", "description": "parameters of single symbols", "additionalProperties": of_one,
    }  # fmt: skip
    more = {"title": "GridStrategyV4 settings", "patternProperties": tables}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | more


def config_as_toml(config: GridConfig, names: Iterable[str] = ()) -> str:
    """Return a TOML file with the parameters named (all if none), each with unit and meaning, as used.

    It loads back equal.
    """
    lines: list[str] = []
    section = None
    for name in names or GridConfig.model_fields:
        extra = GridConfig.model_fields[name].json_schema_extra
        if extra["section"] != section:
            section = extra["section"]
            lines.append(f"{'' if not lines else chr(10)}# {section}")
        lines.append(_toml_line(name, getattr(config, name)))
    by_symbol = config.symbols if isinstance(config, PortfolioConfig) and not names else {}
    for symbol, some in by_symbol.items():
        key = symbol if re.fullmatch(r"[A-Za-z0-9_-]+", symbol) else f'"{symbol}"'
        lines.append(f"\n[{BY_SYMBOL}.{key}]")
        lines += [_toml_line(name, value) for name, value in some.items()]
    return "\n".join(lines) + "\n"


def _toml_line(name: str, value: Any) -> str:
    field = GridConfig.model_fields[name]
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return f"{name} = {text}  # {field.json_schema_extra['unit']}: {field.description}"
