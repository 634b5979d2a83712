"""Each module imports from its own room and from rows above it, and nothing else: the rows are those of the house."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: The rows, top first; what stands in one row does not import each other. A room is a folder or a single module.
ROWS = (
    (
        "gridv4_bt.core",
        "gridv4_bt.errors",
        "gridv4_bt.late",
        "gridv4_bt.free_memory",
        "gridv4_bt.own_packages",
        "gridv4_bt.version",
        "presets",
    ),
    ("gridv4_bt.config", "gridv4_bt.compat", "gridv4_bt.compiled"),
    ("gridv4_bt.engine", "gridv4_bt.indicators", "gridv4_bt.own_strategy"),
    ("feeds", "brokers", "strategies"),
    ("gridv4_bt.record",),
    ("gridv4_bt.metrics",),
    ("gridv4_bt.backtest",),
    ("gridv4_bt.report",),
    ("gridv4_bt.exchange",),
    ("gridv4_bt.live",),
    ("gridv4_bt.validation",),
    ("gridv4_bt.optimise", "gridv4_bt.audit", "gridv4_bt.desk", "gridv4_bt.sweep", "gridv4_bt.api"),
    ("gridv4_bt.cli", "gridv4_bt.__main__"),
)
#: Rooms of one row that may import one of the same row: the doors open on what lies behind them.
DOORS = {
    ("gridv4_bt.sweep", "gridv4_bt.optimise"),
    ("gridv4_bt.api", "gridv4_bt.optimise"),
    ("gridv4_bt.__main__", "gridv4_bt.cli"),
}
#: The only module of a room that may import another room: paper trading brings its own exchange.
ONLY = {("gridv4_bt.live", "gridv4_bt.exchange"): "gridv4_bt.live.paper"}
#: Where sockets may be opened, and by what they would be.
SOCKETS = {
    "aiohttp",
    "asyncio",
    "ccxt",
    "distributed",
    "http",
    "requests",
    "socket",
    "socketserver",
    "urllib",
    "websockets",
}
SOCKET_ROOMS = (
    "feeds.exchange", "feeds.archive", "feeds.live", "gridv4_bt.live", "gridv4_bt.exchange",
    "gridv4_bt.optimise.cluster", "gridv4_bt.desk",
)  # fmt: skip


def modules():
    """Return every module of the product by its name, with its source."""
    found = {}
    for folder in ("gridv4_bt", "strategies", "brokers", "feeds", "presets"):
        for path in (ROOT / folder).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def imports(name, source):
    """Yield what a module imports, by full name, wherever in it and be it for types only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    """Return row and room of a module, None for one that is not ours."""
    for row, rooms in enumerate(ROWS):
        for room in rooms:
            if name == room or name.startswith(room + "."):
                return row, room
    return None


def broken(name, source):
    """Return the imports by which a module leaves its layer."""
    if name in ("gridv4_bt", "gridv4_bt.__init__"):
        return []
    row, room = room_of(name)
    wrong = []
    for target in imports(name, source):
        if (found := room_of(target)) is None or found[1] == room or (room, found[1]) in DOORS:
            continue
        only = ONLY.get((room, found[1]), name)
        if found[0] >= row or name != only:
            wrong.append(f"{name} imports {target}")
    return wrong


def circles(sources):
    """Return the groups of modules that import each other in a circle, directly or by way of others."""

    def module_of(target):
        while target and target not in sources:
            target = target.rpartition(".")[0]
        return target

    graph = {name: {module_of(target) for target in imports(name, source)} - {""} for name, source in sources.items()}
    reached = {}
    for name in graph:
        reached[name], found = set(), list(graph[name])
        while found:
            if (other := found.pop()) not in reached[name]:
                reached[name].add(other)
                found.extend(graph[other])
    groups = {
        tuple(sorted(other for other in graph if other in seen and name in reached[other]))
        for name, seen in reached.items()
    }
    return sorted(group for group in groups if group)


def test_every_module_has_a_room():
    assert [name for name in modules() if name != "gridv4_bt" and room_of(name) is None] == []


def test_imports_go_one_way():
    assert [line for name, source in modules().items() for line in broken(name, source)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gridv4_bt.core.grid", "from gridv4_bt.config import GridConfig"),
        ("gridv4_bt.core.grid", "from gridv4_bt.errors import ConfigError"),
        ("brokers.live", "def start():\n    import gridv4_bt.live.runner"),
        ("brokers.hedge", "from feeds.tables import CandleTable"),
        ("gridv4_bt.live.runner", "from gridv4_bt.exchange.api import Api"),
        ("gridv4_bt.optimise.study", "from gridv4_bt.audit import audit"),
        ("gridv4_bt.desk.app", "from gridv4_bt.audit import audit"),
        ("gridv4_bt.engine.market", "if TYPE_CHECKING:\n    from feeds.candles import CandleFeed"),
    ],
)
def test_a_planted_import_is_found(name, source):
    assert len(broken(name, source)) == 1


def test_no_modules_import_each_other_in_a_circle():
    assert circles(modules()) == []


def test_a_planted_circle_is_found():
    planted = {
        "core.a": "from core.b import x",
        "core.b": "def late():\n    import core.c",
        "core.c": "if TYPE_CHECKING:\n    from core import a",
        "core.d": "import core.a",
        "core.e": "from typing import Protocol",
        "core.f": "import core.g",
        "core.g": "from core.f import y",
        "core": "",
    }
    assert circles(planted) == [("core.a", "core.b", "core.c"), ("core.f", "core.g")]


def test_the_package_itself_imports_nothing():
    assert list(imports("gridv4_bt", modules()["gridv4_bt"])) == []


def test_the_local_exchange_needs_no_backtrader():
    users = [
        f"{name} imports {target}"
        for name, source in modules().items()
        if name.startswith(("gridv4_bt.exchange", "gridv4_bt.engine", "gridv4_bt.core"))
        for target in imports(name, source)
        if target.partition(".")[0] == "backtrader" or target.startswith("brokers.")
    ]
    assert users == []


def test_sockets_are_opened_in_few_places():
    openers = [
        f"{name} imports {target}"
        for name, source in modules().items()
        if not any(name == room or name.startswith(room + ".") for room in SOCKET_ROOMS)
        for target in imports(name, source)
        if target.partition(".")[0] in SOCKETS
    ]
    assert openers == []
