"""Compile a module of `core` with numba, unchanged, to compare it with plain Python."""

from types import FunctionType, ModuleType, SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def compiled():
    """compiled(module) -> the module's functions as numba functions that call each other; skipped without numba."""
    numba = pytest.importorskip("numba")

    def compile_all(module: ModuleType) -> SimpleNamespace:
        world = dict(vars(module))
        plain = {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, FunctionType) and value.__module__ == module.__name__
        }
        for name, function in plain.items():
            copy = FunctionType(function.__code__, world, name, function.__defaults__)
            world[name] = numba.njit(copy)
        return SimpleNamespace(**{name: world[name] for name in plain})

    return compile_all
