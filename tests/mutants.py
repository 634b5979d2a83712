"""Mutation testing: whether the tests notice small changes of the rules, each on its own, in a copy of the project.

    python tests/mutants.py --seed 1 --count 200

The nearest tests of the changed module run on each mutant. One that passes them survives. The exit code is 1 if more
than 5 % survive apart from those in `EQUIVALENT`. Numba is hidden from the tests: they run the same rules as plain
Python, and no mutant waits for a compilation.
"""

import argparse
import ast
import copy
import queue
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("gridv4_bt/core/*.py", "gridv4_bt/engine/*.py", "strategies/steps.py")
#: Tests of a module beside, or in place of, a file of its own name.
NEAREST = {
    "gridv4_bt/core/mixture.py": ("tests/indicators/test_gmm.py",),
    "gridv4_bt/core/time.py": ("tests/core/test_core_time.py",),
    "gridv4_bt/engine/book.py": ("tests/engine/test_matching.py",),
    "gridv4_bt/engine/book_access.py": ("tests/engine/test_matching.py",),
    "gridv4_bt/engine/leg.py": ("tests/engine/test_types.py", "tests/engine/test_whole_account.py"),
    "gridv4_bt/engine/tracker.py": ("tests/engine/test_types.py",),
    "gridv4_bt/engine/margin.py": ("tests/engine/test_margin.py", "tests/brokers/test_hedge.py"),
    "gridv4_bt/engine/pruning.py": ("tests/engine/test_pruning.py", "tests/strategies/test_steps.py"),
    "gridv4_bt/engine/ladder_sheet.py": ("tests/engine/test_ladder.py",),
    "gridv4_bt/engine/state.py": ("tests/engine/test_state_records.py",),
    "gridv4_bt/core/regime.py": ("tests/indicators/test_kama.py",),
    "gridv4_bt/engine/market.py": ("tests/core/test_risk.py",),
    "gridv4_bt/core/smoothing.py": tuple(f"tests/indicators/test_{name}.py" for name in ("kama", "atr", "adx")),
    "strategies/steps.py": ("tests/strategies/test_steps.py", "tests/strategies/test_grid_v4.py"),
}
WORKERS = 2
LIMIT = 0.05  #: share of mutants that may survive
TIMEOUT = 120.0  #: s; a mutant whose tests run longer hangs, which counts as noticed
PYTEST = "import sys; sys.modules['numba'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"

#: Mutants that no test can notice, by file, function and changed lines, and why no result differs.
EQUIVALENT = {
    (
        "gridv4_bt/core/regime.py",
        "next_state",
        "breakout = breakout_slope * hysteresis if state == (2 / sign) else breakout_slope",
    ): "a sign is 1 or -1",
    ("gridv4_bt/engine/ladder.py", "sure_reach_reason", "return -(PLACED)"): "it is 0",
    (
        "gridv4_bt/engine/ladder.py",
        "plan_ladder",
        "position, half_spread = long.leg.qty - short.leg.qty, 1.0",
    ): "where it is not worked out no level needs it",
    (
        "gridv4_bt/engine/orders.py",
        "SingleOrder",
        "woken_at: int = -2 #: open time of the bar that executed its parent, ms",
    ): "no bar opens then",
    (
        "gridv4_bt/engine/packed_rows.py",
        "PackedRows.__array__",
        "found = found.astype(self._kind if dtype is None else dtype, copy=True)",
    ): "it takes more time, no more",
    (
        "gridv4_bt/engine/packed_rows.py",
        "PackedRows.__getitem__",
        "alone: NDArray[Any] = self[row : row + 2, columns][0]",
    ): "of two rows the first is the same",
    ("gridv4_bt/engine/book.py", "Book.leg", "return self.long if (side >= 0) else self.short"): "a side is 1 or -1",
    (
        "gridv4_bt/engine/liquidation.py",
        "liquidate",
        "if (equity <= 0.0):",
    ): "where nothing is missing the bankruptcy price is the price",
    (
        "gridv4_bt/core/risk.py",
        "safe_interval",
        "bound = -(base + 3.0 * row.amount) / slope",
    ): "the search begins farther out and comes to the same line",
    (
        "gridv4_bt/engine/orders.py",
        "SingleOrders._execute_limit",
        "if (left <= qty):",
    ): "an order's quantity is a multiple of the step already",
    (
        "gridv4_bt/engine/market.py",
        "Market.max_notional",
        "caps = [row.cap for row, most in zip(self.brackets, self.max_leverages, strict=False) if most >= leverage]",
    ): "a market with another number of leverages is not made",
    ("gridv4_bt/core/grid.py", "round_boundary", "if (price > 10.0):"): "the last line gives 1 at 10 as well",
    (
        "gridv4_bt/engine/guards.py",
        "trailed",
        "if anchor < close * reach and (close <= anchor * reach):",
    ): "a close just there lies inside the ladder, which leaves the anchor too",
    (
        "gridv4_bt/engine/quick_price.py",
        "quick_order_price",
        "if not (hair < place - number <= 1.0 - hair) or not lowest < highest:",
    ): "the exact price, taken in its place, is the same",
    (
        "gridv4_bt/engine/whole_account.py",
        "next_worst_of_leg",
        "if value < best or (value == best and (other <= best_id)):",
    ): "no two fills of an account have one id",
    (
        "gridv4_bt/engine/matching.py",
        "fill_entries",
        "if (price >= 0.0) and fills(book.costs, is_buy, price, bar.low, bar.high) and down < price < up:",
    ): "a price of 0 lies beyond every liquidation price",
    (
        "gridv4_bt/engine/ladder.py",
        "order_price",
        "down = side_sign > 0 if price == raw else (price <= raw)",
    ): "a price that is equal has been dealt with",
    ("gridv4_bt/engine/ladder.py", "plan_side", "qty = 1.0"): "a qty is set before it is read",
    (
        "gridv4_bt/engine/ladder.py",
        "plan_ladder",
        "for i in range(p.levels if len(trace) > 1 else 0):",
    ): "a trace has no length or two levels at least",
    (
        "gridv4_bt/engine/ladder.py",
        "ladder_totals",
        "if count == 0 or (side_sign * (prices[i] - nearest) >= 0.0):",
    ): "of equal prices either is the first",
    (
        "gridv4_bt/core/inventory.py",
        "optimal_spread",
        "if (gamma <= 1e-16 * kappa): # the limit of the logarithm to the last bit; 2/gamma may be infinite here",
    ): "both formulas have the same bits there",
    (
        "gridv4_bt/engine/symbol_book.py",
        "SymbolBook.__init__",
        "super().__init__(history.at(1), account, costs)",
    ): "the rules of the given time are obeyed next",
    ("gridv4_bt/core/grid.py", "round_boundary", "if price >= 11.0:"): "the last line gives 1 from 10 on as well",
    (
        "gridv4_bt/core/grid.py",
        "nudge_round_number",
        "if (abs(price - low if moved_to > price else price - high) < 1e-12 * price):",
    ): "only 244,140,625,000 and its multiples could lie just there",
    (
        "gridv4_bt/core/grid.py",
        "_multiple",
        "return count / inverse if (abs(inverse * step - 1.0) <= _STEP_EPS) else count * step",
    ): "no two floats near 1 differ by just 1e-9",
    (
        "gridv4_bt/engine/liquidation.py",
        "liquidate",
        "takes_all = (equity < fee_rate * notional)",
    ): "a fee of just all the equity leaves nothing",
    (
        "gridv4_bt/engine/liquidation.py",
        "is_safe",
        "if flat or reserve > 1.0:",
    ): "the exact sum, taken then, says the same",
    (
        "strategies/steps.py",
        "is_under_water",
        "return (leg.fills >= 0) and leg.sign * (close - leg.under_water) <= 0.0",
    ): "the trigger of a leg without fills is infinitely far",
    ("gridv4_bt/engine/pruning.py", "prune_reason", "return -(KEEP)"): "KEEP is 0",
    (
        "gridv4_bt/engine/ladder.py",
        "plan_side",
        "if (apart * price < 2.0 * tick):",
    ): "rounding brings no two prices together that lie two ticks apart",
    (
        "gridv4_bt/engine/orders.py",
        "_is_multiple",
        "return (abs(round_down(value, step) - value) < 1e-09 * value)",
    ): "only values above 0 are asked about, and none differs by just so much",
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/orders.py", "SingleOrders.fill_stops", "sign = -1 if order.is_buy else 2"),
            ("gridv4_bt/engine/orders.py", "SingleOrders.fill_stops", "sign = -2 if order.is_buy else 1"),
        ],
        "only the sign counts",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/leg.py", "sum_up", "leg.changed = 2"),
            ("gridv4_bt/engine/book.py", "Book.orders_changed", "self.state.orders_changed = 2"),
            ("gridv4_bt/engine/matching.py", "order_close", "book.state.orders_changed = 2"),
            ("gridv4_bt/engine/orders.py", "SingleOrders.fill_stops", "leg.leg.stopped = 2"),
            ("strategies/steps.py", "find_kelly", "kelly.known = 2"),
        ],
        "it only says whether",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/margin.py", "without_new_orders", "for i in range(len(side.orders[1])):"),
            ("gridv4_bt/engine/margin.py", "refuse_side", "for i in range(len(side.orders[1])):"),
        ],
        "all rows are as long",
    ),
    **dict.fromkeys(
        [
            (
                "gridv4_bt/core/grid.py",
                "nudge_round_number",
                "if abs(price - low if (moved_to >= price) else price - high) <= 1e-12 * price:",
            ),
            ("gridv4_bt/core/grid.py", "nudge_round_number", "number = low if (moved_to >= price) else high"),
        ],
        "a price that is moved is never moved to itself",
    ),
    **dict.fromkeys(
        [
            (
                "gridv4_bt/engine/quick_price.py",
                "quick_order_price",
                "if (lowest * (1.0 + _HAIR) < estimate <= highest * (1.0 - _HAIR)):",
            ),
            (
                "gridv4_bt/engine/quick_price.py",
                "quick_order_price",
                "if not (hair <= place - number < 1.0 - hair) or not lowest < highest:",
            ),
            (
                "gridv4_bt/engine/quick_price.py",
                "quick_order_price",
                "if not hair < place - number < 1.0 - hair or not (lowest <= highest):",
            ),
            ("gridv4_bt/engine/quick_price.py", "quick_order_price", "if (estimate <= lowest * (1.0 - _HAIR)):"),
            ("gridv4_bt/engine/quick_price.py", "quick_order_price", "if (estimate >= highest * (1.0 + _HAIR)):"),
            (
                "gridv4_bt/engine/quick_price.py",
                "quick_order_price",
                "if (lowest * (1.0 + _HAIR) <= estimate < highest * (1.0 - _HAIR)):",
            ),
            ("gridv4_bt/engine/quick_price.py", "quick_order_price", "if (noise <= part < 1.0 - noise):"),
            ("gridv4_bt/engine/quick_price.py", "quick_order_price", "if (noise < part <= 1.0 - noise):"),
            (
                "gridv4_bt/engine/ladder.py",
                "plan_side",
                "price = quick_order_price(side_sign, estimate, tick, nudge_pct) if estimate > 1.0 else 0.0",
            ),
        ],
        "the exact price, taken otherwise, is the same",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/core/grid.py", "exit_price", "if (side_sign >= 0):"),
            (
                "gridv4_bt/engine/guards.py",
                "stop2_price",
                "return round_down(price, tick) if (side_sign >= 0) else round_up(price, tick)",
            ),
            (
                "gridv4_bt/engine/ladder.py",
                "order_price",
                "price = nudge_round_number(raw, (side_sign >= 0), nudge_pct)",
            ),
            ("gridv4_bt/engine/ladder.py", "order_price", "down = (side_sign >= 0) if price == raw else price < raw"),
            (
                "gridv4_bt/engine/ladder.py",
                "plan_side",
                "growth = 1.0 / (1.0 + spacing_pct) if (side_sign >= 0) else 1.0 + spacing_pct",
            ),
            ("gridv4_bt/engine/matching.py", "stop_hit", "return low <= stop if (side_sign >= 0) else high >= stop"),
            (
                "gridv4_bt/engine/matching.py",
                "stop_met",
                "return min(stop, open_) if (side_sign >= 0) else max(stop, open_)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "stop_price",
                "return market_price((side_sign <= 0), stop_met(side_sign, stop, open_), slippage)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "stop_price",
                "return market_price(side_sign < 1, stop_met(side_sign, stop, open_), slippage)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "note_first_exit",
                "first = min(first, price) if (leg.sign >= 0) else max(first, price)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "stop_and_exit",
                "return fills(book.costs, (leg.sign <= 0), leg.first_exit, bar.low, bar.high)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "stop_and_exit",
                "return fills(book.costs, leg.sign < 1, leg.first_exit, bar.low, bar.high)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "fill_market_orders",
                "price = market_price((leg.sign <= 0), book.bar.open, book.costs.slippage)",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "fill_market_orders",
                "price = market_price(leg.sign < 1, book.bar.open, book.costs.slippage)",
            ),
            ("gridv4_bt/engine/matching.py", "fill_entries", "is_buy = (leg.sign >= 0)"),
            (
                "gridv4_bt/engine/matching.py",
                "fill_exits",
                "if price > 0.0 and fills(book.costs, (leg.sign <= 0), price, bar.low, bar.high):",
            ),
            (
                "gridv4_bt/engine/matching.py",
                "fill_exits",
                "if price > 0.0 and fills(book.costs, leg.sign < 1, price, bar.low, bar.high):",
            ),
            (
                "gridv4_bt/engine/quick_price.py",
                "quick_order_price",
                "return round_down(estimate, tick) if (side_sign >= 0) else round_up(estimate, tick)",
            ),
            ("strategies/steps.py", "refresh", "if (leg.sign >= 0):"),
            ("gridv4_bt/core/funding.py", "funding_tilt", "paid = (rate / side_sign)"),
            (
                "gridv4_bt/core/regime.py",
                "next_state",
                "trend = trend_slope * hysteresis if (state / sign) > 0 else trend_slope",
            ),
            (
                "gridv4_bt/core/mixture.py",
                "name_components",
                "if name == sign and abs(drifts[index]) >= "
                "(breakout * factor if known[index] == (2 / sign) else breakout)",
            ),
        ],
        "a side's sign is 1 or -1",
    ),
    **dict.fromkeys(
        [
            (
                "gridv4_bt/engine/orders.py",
                "SingleOrders.fill_exits",
                "times = zip(tracker.qtys, tracker.times, strict=False)",
            ),
            (
                "gridv4_bt/engine/orders.py",
                "stoppable",
                "entries = zip(leg.tracker.prices, leg.tracker.times, strict=False)",
            ),
            ("gridv4_bt/engine/book.py", "Leg.reserve", "for row, old in zip(self.orders, before, strict=False):"),
        ],
        "all columns are as long",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/book.py", "Leg.__init__", "self.take_totals((0.0, 0.0, 1.0))"),
            ("gridv4_bt/engine/book.py", "Leg.cancel_entries", "self.take_totals((0.0, 0.0, 1.0))"),
        ],
        "without an entry there is no first price",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/book.py", "Leg.entries_changed", "totals = [1.0, 0.0, 0.0]"),
            ("gridv4_bt/engine/book.py", "Leg.entries_changed", "totals = [0.0, 1.0, 0.0]"),
            ("gridv4_bt/engine/book.py", "Leg.entries_changed", "totals = [0.0, 0.0, 1.0]"),
        ],
        "`ladder_totals` sets all three",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/ladder.py", "reach_reason", "return -(PLACED)"),
            ("gridv4_bt/engine/ladder.py", "surroundings_reason", "return -(PLACED)"),
            ("gridv4_bt/engine/ladder.py", "size_reason", "return -(PLACED)"),
            ("gridv4_bt/engine/margin.py", "opening_limit", "return -(PLACED)"),
        ],
        "PLACED is 0",
    ),
    **dict.fromkeys(
        [
            (
                "gridv4_bt/engine/ladder.py",
                "plan_side",
                "apart = (1.0 - (2.0 / keep_price)) * spacing_pct - 1.1 * nudge_pct",
            ),
            (
                "gridv4_bt/engine/ladder.py",
                "plan_side",
                "apart = (1.0 - 3.0 * keep_price) * spacing_pct - 1.1 * nudge_pct",
            ),
            (
                "gridv4_bt/engine/ladder.py",
                "plan_side",
                "apart = (1.0 - 2.0 * keep_price) * spacing_pct - 2.1 * nudge_pct",
            ),
            ("gridv4_bt/engine/ladder.py", "plan_side", "if apart * price <= 3.0 * tick:"),
        ],
        "looking for doubles where there are none finds none",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/engine/guards.py", "", "_WITHIN = 1.0 - 1.000000001 # leaves room for roundings"),
            ("gridv4_bt/engine/guards.py", "trailed", "reach = ((1.0 - levels * spacing_pct)) * _WITHIN"),
            ("gridv4_bt/engine/guards.py", "trailed", "if (anchor <= close * reach) and close < anchor * reach:"),
            ("gridv4_bt/engine/guards.py", "trailed", "if anchor < (close / reach) and close < anchor * reach:"),
            ("gridv4_bt/engine/guards.py", "trailed", "if anchor < close * reach and close < (anchor / reach):"),
            ("gridv4_bt/engine/guards.py", "trailed", "if (close >= anchor):"),
        ],
        "the powers, taken in place of the short cut, say the same",
    ),
    **dict.fromkeys(
        [
            (
                "strategies/steps.py",
                "reduce_leg",
                "pnl, fill_id, index = next_worst_of_leg(side.leg, side.fills, now.close, -INFINITY, 1)",
            ),
            ("strategies/steps.py", "prune", "_, worst = next_worst(books_of(book), -INFINITY, 1)"),
            ("strategies/steps.py", "offset_worst", "_, worst = next_worst(books_of(book), -INFINITY, 1)"),
            (
                "strategies/steps.py",
                "call_margin",
                "required, pnl, fill_id, is_worst = now.maintenance, -INFINITY, 1, True",
            ),
        ],
        "no fill loses infinitely much",
    ),
    **dict.fromkeys(
        [
            ("gridv4_bt/core/mixture.py", "", "_LOG_2PI = math.log((2.0 / math.pi))"),
            ("gridv4_bt/core/mixture.py", "", "_LOG_2PI = math.log(3.0 * math.pi)"),
        ],
        "what all components share cancels out",
    ),
}

SWAPS = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Mult,),
    ast.Pow: (ast.Mult,), ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
NEGATED = {"bool": "not ({})", "int": "-({})", "float": "-({})"}


class Mutant(NamedTuple):
    """One change of one file."""

    file: str  #: relative to the project
    line: int
    function: str
    before: str  #: its lines
    after: str
    source: str  #: the whole changed file


def changed(node: ast.AST, returns: str) -> Iterator[str]:
    """Yield the mutants of a piece of source; `returns` is the annotated result of the function around it."""
    other = copy.deepcopy(node)
    match other:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            for operator in SWAPS.get(type(other.op), ()):
                other.op = operator()
                yield ast.unparse(other)
        case ast.Compare():
            for place, operators in enumerate([SWAPS[type(operator)] for operator in other.ops]):
                for operator in operators:
                    mutant = copy.deepcopy(other)
                    mutant.ops[place] = operator()
                    yield ast.unparse(mutant)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield ast.unparse(other.operand)
        case ast.Constant(value=bool()):
            yield str(not other.value)
        case ast.Constant(value=int() | float()):
            yield repr(other.value + 1)
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            other.func.id = {"min": "max", "max": "min"}[name]
            yield ast.unparse(other)
        case ast.Return(value=ast.expr()) if returns in NEGATED and ast.unparse(other.value) not in ("0", "0.0"):
            yield f"return {NEGATED[returns].format(ast.unparse(other.value))}"
    match other:
        case ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Call()):
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"


def mutants_of(file: str) -> Iterator[Mutant]:
    """Yield all mutants of a file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    raw = text.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def visit(node: ast.AST, function: str, returns: str) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".removeprefix(".")
            returns = ast.unparse(node.returns) if getattr(node, "returns", None) else ""
        if isinstance(node, ast.expr | ast.stmt):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            for new in changed(node, returns):
                whole = new if isinstance(node, ast.stmt | ast.Constant) else f"({new})"
                first, last = starts[node.lineno - 1], starts[node.end_lineno]
                change = raw[first:begin] + whole.encode() + raw[end:last]
                lines = [" ".join(part.decode().split()) for part in (raw[first:last], change)]
                yield Mutant(file, node.lineno, function, *lines, (raw[:first] + change + raw[last:]).decode())
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                        yield from visit(child, function, returns)

    return visit(ast.parse(text), "", "")


def nearest_tests(file: str) -> tuple[str, ...]:
    """Return the test files or folders of a module; without any of its own, those of its folder."""
    folder = f"tests/{Path(file).parent.name}"
    own = f"{folder}/test_{Path(file).name}"
    return NEAREST.get(file, ()) + ((own,) if (ROOT / own).exists() else ()) or (folder,)


def survives(mutant: Mutant, projects: "queue.Queue[Path]") -> bool:
    """Return whether the nearest tests pass on a mutant."""
    project = projects.get()
    path = project / mutant.file
    options = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
    command = [sys.executable, "-c", PYTEST, *options, *nearest_tests(mutant.file)]
    try:
        write(path, mutant.source)
        done = subprocess.run(command, cwd=project, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return False
    finally:
        write(path, (ROOT / mutant.file).read_text(encoding="utf-8"))
        projects.put(project)
    return done.returncode == 0


def write(path: Path, source: str) -> None:
    """Write a module and remove its compiled code, which Python trusts if second and size are the same."""
    path.write_text(source, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def run(mutants: Sequence[Mutant]) -> list[bool]:
    """Return for each mutant whether it survives; the work is done in copies of the project."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        projects: queue.Queue[Path] = queue.Queue()
        for number in range(WORKERS):
            project = Path(folder) / str(number)
            shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info"))
            projects.put(project)
        return list(pool.map(lambda mutant: survives(mutant, projects), mutants))


def main() -> int:
    """Try the mutants that the command line asks for, print those that survive, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--only", default="", help="draw from the files whose path contains this")
    given = parser.parse_args()
    files = sorted(str(path.relative_to(ROOT)) for pattern in SOURCES for path in ROOT.glob(pattern))
    every = [mutant for file in files if given.only in file for mutant in mutants_of(file)]
    drawn = random.Random(given.seed).sample(every, min(given.count, len(every)))
    unchanged = [
        Mutant(file, 0, "", "", "", (ROOT / file).read_text("utf-8")) for file in sorted({m.file for m in drawn})
    ]
    if failing := [mutant.file for mutant, passed in zip(unchanged, run(unchanged)) if not passed]:
        sys.exit(f"tests fail before anything is changed: {', '.join(failing)}")
    survivors = [mutant for mutant, survived in zip(drawn, run(drawn)) if survived]
    known = [mutant for mutant in survivors if (mutant.file, mutant.function, mutant.after) in EQUIVALENT]
    for mutant in sorted(set(survivors) - set(known)):
        print(f"{mutant.file}:{mutant.line}: {mutant.function}\n    - {mutant.before}\n    + {mutant.after}")
    unnoticed = len(survivors) - len(known)
    print(f"{len(drawn)} mutants: {len(drawn) - len(survivors)} noticed, {len(known)} equivalent, {unnoticed} survive")
    return int(unnoticed > LIMIT * len(drawn))


if __name__ == "__main__":
    sys.exit(main())
