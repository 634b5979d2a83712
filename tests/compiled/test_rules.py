"""Rules as machine code: what is handed over, where the code is kept, and what happens where it cannot be kept."""

import ast
import enum
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scaled
from scaled import ROW, Book

import gridv4_bt.compiled.machine_code as machine_code
import gridv4_bt.compiled.rules as module
from gridv4_bt.compiled.rules import Compiled
from gridv4_bt.engine import ladder_sheet
from gridv4_bt.optimise.kernel import kernel
from strategies import ladder_plan

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return module.cache_home()


def fresh(rule):
    """A rule that this process has not run yet."""
    return Compiled(rule, (scaled,))


def files(cache):
    return sorted(path.name.partition("-")[0] + path.suffix for path in cache.rglob("*.*") if path.suffix != ".lock")


def others(count, **environ):
    """What processes say that run a rule at the same time: its result, and whether they have loaded numba.

    environ : variables of theirs beside ours.
    """
    script = (
        "import sys; sys.path[:0] = ['tests/compiled', '.'];"
        "import numpy as np, scaled, gridv4_bt.compiled as c; out = np.ones(1);"
        "c.compiled(scaled.lowest, (scaled,))(np.array([3.0, 2.0]), out); print(out.tolist(), 'numba' in sys.modules)"
    )
    command, root = [sys.executable, "-c", script], Path(__file__).parents[2]
    options = dict(cwd=root, env=os.environ | environ, stdout=subprocess.PIPE, text=True)
    started = [subprocess.Popen(command, **options) for _ in range(count)]
    return sorted(one.communicate()[0] for one in started)


def book():
    rows = np.array([(1, 5.0), (0, 6.0), (2, 7.0)], ROW)
    return Book(rows, np.arange(1.0, 7.0).reshape(3, 2))


def test_arrays_numbers_and_named_tuples_are_handed_over():
    ours = book()
    assert fresh(scaled.scale)(ours, 0.5, 4, True, None) == 4  # the first row and the last, two prices each
    assert ours.rows["qty"].tolist() == [5.25, 6.0, 7.25]
    assert ours.prices.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]  # times 2 * 0.5
    assert fresh(scaled.scale)(ours, 3.0, 4, False, 0) == 0
    assert ours.prices.tolist() == [[3.0, 6.0], [3.0, 4.0], [15.0, 18.0]]


@pytest.mark.parametrize("number", [-1, 0, 2**63 - 1, -(2**63) + 1])
def test_whole_numbers_come_back(number):
    assert fresh(scaled.whole)(number) == number


@pytest.mark.parametrize("kinds", [(np.int64, np.float64, np.bool_), (np.int32, np.float32, np.bool_)])
def test_numbers_of_numpy_are_as_those_of_python(kinds):
    """As parameters come from `np.arange`, or from an array's element."""
    whole, real, flag = kinds
    rule, ours, expected = fresh(scaled.scale), book(), book()
    assert rule(ours, real(0.5), whole(4), flag(True), None) == rule(expected, 0.5, 4, True, None)
    assert ours.rows.tolist() == expected.rows.tolist() and ours.prices.tolist() == expected.prices.tolist()


def test_a_rule_without_a_result_gives_0():
    out = np.zeros(1)
    assert fresh(scaled.lowest)(np.array([-0.1, 0.2]), out) == 0
    assert out.tolist() == [-0.1]


def test_a_bound_rule_reads_its_arrays_anew_each_time():
    ours = book()
    run = fresh(scaled.scale).bind(ours, 10.0, 1, False, None)
    assert run() == 4
    ours.rows["wanted"] = [0, 1, 0]
    assert run() == 2
    assert ours.prices.tolist() == [[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]


def test_an_array_with_gaps_is_refused():
    rows, prices = book()
    with pytest.raises(ValueError, match="gaps between its rows"):
        fresh(scaled.scale)(Book(rows, np.ones((3, 4))[:, :2]), 1.0, 1, False, None)
    with pytest.raises(ValueError, match="gaps between its rows"):
        fresh(scaled.scale)(Book(rows[::-1], prices), 1.0, 1, False, None)


def test_an_exception_of_the_rule_is_told():
    with pytest.raises(RuntimeError, match="scale failed in compiled code"):
        fresh(scaled.scale)(book(), 1.0, 0, False, None)  # a division by zero


def test_the_code_is_kept_for_the_next_process_which_needs_no_numba(cache):
    fresh(scaled.lowest)(np.zeros(2), np.zeros(1))
    assert files(cache) in (["lowest.so"], ["lowest.o"])
    assert others(1) == ["[2.0] False\n"]


def test_it_is_at_hand_once_it_was_compiled(cache):
    assert not fresh(scaled.lowest).is_at_hand()
    fresh(scaled.lowest)(np.zeros(2), np.zeros(1))
    assert fresh(scaled.lowest).is_at_hand() and not fresh(scaled.whole).is_at_hand()


def test_without_a_linker_the_object_file_is_kept_and_loaded_by_llvm(cache, monkeypatch):
    monkeypatch.setattr(machine_code.shutil, "which", lambda program: None)
    for _ in range(2):
        ours = book()
        assert fresh(scaled.scale)(ours, 0.5, 4, True, None) == 4
        assert ours.prices.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert files(cache) == ["scale.o"]


def test_what_was_not_linked_can_be_once_there_is_a_linker(cache, monkeypatch):
    if machine_code.linker() is None:
        pytest.skip("no linker here")
    with monkeypatch.context() as patched:
        patched.setattr(machine_code.shutil, "which", lambda program: None)
        fresh(scaled.whole)(7)
        machine_code.forget_unlinked(cache)
        assert files(cache) == ["whole.o"]
    machine_code.forget_unlinked(cache)
    fresh(scaled.whole)(7)
    assert files(cache) == ["whole.so"]


def test_a_linker_that_fails_is_as_none(cache, monkeypatch):
    monkeypatch.setattr(machine_code.shutil, "which", lambda program: "false")
    assert fresh(scaled.whole)(7) == 7
    assert files(cache) == ["whole.o"]


def test_a_library_that_cannot_be_loaded_from_the_cache_is_as_none(cache, monkeypatch):
    """As from a file system whose programs may not be run."""

    def refused(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(machine_code.ctypes, "CDLL", refused)
    assert fresh(scaled.whole)(7) == 7
    assert files(cache) == ["whole.o"]


def test_several_processes_compile_a_rule_once(cache):
    assert others(3) == ["[2.0] False\n", "[2.0] False\n", "[2.0] True\n"]


def test_an_argument_that_no_code_can_take_is_named():
    with pytest.raises(TypeError, match="'seven' cannot be handed to compiled code"):
        fresh(scaled.whole)("seven")


def test_a_cache_that_cannot_be_written_costs_only_time(cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fresh(scaled.whole)(7) == 7


def test_a_file_that_cannot_be_read_as_code_is_made_anew(cache):
    assert fresh(scaled.whole)(7) == 7
    [path] = (path for path in cache.rglob("whole-*") if path.suffix in machine_code.SUFFIXES)
    path.unlink()
    path.with_suffix(".so").write_bytes(b"")
    assert fresh(scaled.whole)(8) == 8


@pytest.mark.parametrize("linker", [True, False], ids=["library", "object file"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_a_file_that_was_cut_is_made_anew(cache, tmp_path, linker, share):
    """In a process of its own, which code that is not whole would end."""
    environ = {} if linker else {"PATH": str(tmp_path / "none")}
    assert others(1, **environ) == ["[2.0] True\n"]
    [path] = (path for path in cache.rglob("lowest-*") if path.suffix in machine_code.SUFFIXES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert others(1, **environ) == ["[2.0] True\n"]
    assert others(1, **environ) == ["[2.0] False\n"]


def test_other_kinds_of_arguments_are_other_code(cache):
    rule = fresh(scaled.whole)
    assert rule(7) == rule(True) + 6 == 7
    assert len(files(cache)) == 2


def test_a_field_that_moves_makes_other_code():
    moved = np.dtype([("qty", np.float64), ("wanted", np.uint8)], align=True)
    kinds = {repr(module.kind_of(np.zeros(3, layout))) for layout in (ROW, moved, np.dtype(ROW.descr))}
    assert len(kinds) == 3


@pytest.mark.parametrize("rule", [Compiled(scaled.whole, ()), Compiled(book, (scaled,)), Compiled(book, (), (scaled,))])
def test_other_source_another_numba_or_another_processor_is_another_folder(rule, cache, monkeypatch, tmp_path):
    def folder():
        module._made_from.cache_clear()
        return rule._folder()

    first = folder()
    assert folder() == first
    monkeypatch.setattr(module, "cpu", lambda: "another one")
    second = folder()
    monkeypatch.setattr(module, "version", lambda library: "0")
    third = folder()
    changed = tmp_path / "scaled.py"
    changed.write_text(Path(scaled.__file__).read_text() + "\n")
    monkeypatch.setattr(scaled, "__file__", str(changed))
    assert len({first, second, third, folder()}) == 4
    module._made_from.cache_clear()


@pytest.mark.parametrize(
    "made_of",
    [(kernel, *kernel.MADE_OF, *kernel.CALLED), (ladder_sheet, *ladder_plan.MADE_OF)],
    ids=["kernel", "ladder"],
)
def test_the_numbers_in_machine_code_come_from_modules_that_name_its_folder(made_of):
    """Or the code in the cache would stay in use after one of them has changed."""
    known = {module.__name__ for module in made_of}
    missing = {
        f"{node.module}.{alias.name}"
        for module in made_of
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom) and node.module not in known and node.module in sys.modules
        for alias in node.names
        if type(getattr(sys.modules[node.module], alias.name)) in (int, float, tuple, np.dtype, enum.EnumType)
        and node.module.startswith(("gridv4_bt.", "strategies."))
    }
    assert missing <= {"gridv4_bt.engine.types.PositionSide"}  # in annotations


def test_a_process_that_is_older_than_the_source_keeps_its_code_to_itself(cache, monkeypatch):
    """A notebook that outlives an upgrade runs the code before it, but would read the source after it."""
    folders = set()
    for started in (0.0, 1.0, 1e12, 2e12):  # seconds since 1970
        monkeypatch.setattr(module, "STARTED", started)
        module._made_from.cache_clear()
        folders.add(fresh(scaled.whole)._folder())
    module._made_from.cache_clear()
    assert len(folders) == 3


def test_without_numba_it_is_the_rule_itself(monkeypatch):
    monkeypatch.setattr(module, "available", lambda: False)
    assert fresh(scaled.whole)("anything") == "anything"
    out = [0.0]
    fresh(scaled.lowest).bind([2.0, 1.0], out)()
    assert out == [1.0]


def test_numba_that_is_told_not_to_compile_is_as_none(cache):
    """As for a debugger, which cannot look into compiled code."""
    assert others(1, NUMBA_DISABLE_JIT="1") == ["[2.0] False\n"]
    assert files(cache) == []
    assert others(1, NUMBA_DISABLE_JIT="0") == ["[2.0] True\n"]
