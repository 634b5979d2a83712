"""Named tuples of arrays handed to compiled code as one array of addresses, because each array handed over takes time.

The caller keeps the arrays alive, and where they are, as long as the addresses are used.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import from_dtype
from numba.core import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

_known: dict[Callable[..., Any], list[types.NamedTuple]] = {}


def addresses_of(*tuples: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return address and shape of each array of the tuples, one after the other."""
    return np.array([number for arrays in tuples for array in arrays for number in (array.ctypes.data, *array.shape)])


def arrays_at(function: Callable[..., Any], *tuples: Sequence[NDArray[Any]]) -> None:
    """Make compiled code take a function of the addresses for one that returns tuples like these.

    Raises
    ------
    ValueError
        An array has gaps between its rows, or the function was given with other types of arrays.
    """
    if not all(array.flags.c_contiguous for arrays in tuples for array in arrays):
        raise ValueError("an array with gaps between its rows cannot be handed over by its address")
    kinds = [
        types.NamedTuple([types.Array(from_dtype(array.dtype), array.ndim, "C") for array in arrays], type(arrays))
        for arrays in tuples
    ]
    known = _known.setdefault(function, kinds)
    if known != kinds:
        raise ValueError("compiled code takes arrays of these tuples with other types already")
    if known is not kinds:
        return

    @intrinsic
    def read(typing: Any, addresses: Any) -> Any:
        def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers = context.make_array(addresses)(context, builder, args[0]).data
            place = iter(range(2**31))

            def number() -> Any:
                return builder.load(builder.gep(numbers, [context.get_constant(types.intp, next(place))]))

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

            made = [context.make_tuple(builder, kind, [array(one) for one in kind.types]) for kind in kinds]
            return context.make_tuple(builder, signature.return_type, made)

        return types.Tuple(kinds)(addresses), make

    @overload(function, jit_options={"forceinline": True}, strict=False)
    def choose(addresses: Any) -> Any:
        def opened(addresses: Any) -> Any:
            return read(addresses)

        return opened
