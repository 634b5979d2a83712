"""Machine code of a rule, made by numba: one C function that takes the address of the rule's arguments.

The arguments lie one after another as whole numbers of eight bytes: a float as its bits, an array as its address and
shape, a named tuple as its members. So code that was made once needs neither numba nor LLVM to run.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import cfunc, from_dtype, njit
from numba.core import types
from numba.extending import intrinsic, overload, register_jitable
from numba.np.arrayobj import populate_array

from gridv4_bt.compiled.machine_code import BROKEN, SYMBOL, this_machine


def object_code(
    rule: Callable[..., Any],
    kinds: Sequence[Any],
    made_of: Sequence[ModuleType],
    calls: Sequence[ModuleType],
    instead: Sequence[tuple[Callable[..., Any], Callable[..., Any]]],
) -> bytes:
    """Return the object file of a rule for arguments of these kinds, see `gridv4_bt.compiled.rules`."""
    for module in made_of:
        _register(module, forceinline=True)
    for module in calls:
        _register(module, forceinline=False)
    for function, other in instead:
        _replace(function, other)
    arguments = _reader([_type(kind) for kind in kinds])
    # _nrt=False: no rule creates an array, and counting references would take longer than the rules.
    compiled = njit(rule, forceinline=True, _nrt=False)

    def entry(address: Any) -> Any:
        try:
            return _whole(compiled(*arguments(address)))
        except Exception:
            return BROKEN

    function = cfunc(types.int64(types.CPointer(types.int64)), _nrt=False)(entry)
    # Not by `inspect_llvm()`: LLVM cuts names of over 1,024 letters when it reads its text, and takes one for another.
    code = llvm.parse_bitcode(function._library._final_module.as_bitcode())
    for one in (*code.functions, *code.global_variables):
        if not one.is_declaration:
            one.linkage = "internal"
    entry_point = code.get_function(function.native_name)
    entry_point.name, entry_point.linkage = SYMBOL, "external"
    return this_machine().emit_object(code)


def _whole(result: Any) -> Any:
    """Return the rule's whole number, or 0 where it returns nothing."""
    raise NotImplementedError


@overload(_whole, strict=False)
def _make_whole(result: Any) -> Any:
    return (lambda result: 0) if result is types.none else (lambda result: result)


def _type(kind: Any) -> types.Type:
    match kind:
        case np.dtype(), int() as dimensions:
            return types.Array(from_dtype(kind[0]), dimensions, "C")
        case name, *kinds if isinstance(name, type):
            return types.NamedTuple([_type(one) for one in kinds], name)
    return {float: types.float64, int: types.int64, bool: types.boolean, None: types.none}[kind]


def _reader(kinds: Sequence[types.Type]) -> Any:
    """Return a function of compiled code that returns the arguments at an address."""

    @intrinsic
    def arguments(typing: Any, address: Any) -> Any:
        def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = iter(range(2**31))

            def number() -> Any:
                return builder.load(builder.gep(args[0], [context.get_constant(types.intp, next(place))]))

            def array(kind: types.Array) -> Any:
                made = context.make_array(kind)(context, builder)
                data = builder.inttoptr(number(), made.data.type)
                shape = [number() for _ in range(kind.ndim)]
                size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
                strides = [size]
                for length in reversed(shape[1:]):
                    strides.insert(0, builder.mul(strides[0], length))
                populate_array(made, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
                return made._getvalue()

            def value(kind: types.Type) -> Any:
                if isinstance(kind, types.Array):
                    return array(kind)
                if isinstance(kind, types.BaseTuple):
                    return context.make_tuple(builder, kind, [value(one) for one in kind.types])
                if kind is types.none:
                    return context.get_dummy_value()
                if kind is types.float64:
                    return builder.bitcast(number(), context.get_value_type(kind))
                return builder.trunc(number(), context.get_value_type(kind)) if kind is types.boolean else number()

            return value(signature.return_type)

        return types.Tuple(kinds)(address), make

    return arguments


@cache
def _register(module: ModuleType, forceinline: bool) -> None:
    """Make the functions of a module callable from compiled code; for Python they do not change."""
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            register_jitable(forceinline=forceinline)(function)


@cache
def _replace(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Make compiled code call another function in place of one; in Python it stays what it is."""

    @overload(function, jit_options={"forceinline": True}, strict=False)
    def choose(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        return other
