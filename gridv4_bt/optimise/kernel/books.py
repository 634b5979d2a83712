"""The symbols of an account as a sequence of `BookRecords` in compiled code.

The engine's rules for the whole account run over a sequence of books: a tuple of objects in a backtest. Compiled code
has no sequence of records whose length is known only when it runs, so this is one: it holds the arrays of all symbols,
and a book is made of their rows where it is asked for.
"""

import hashlib
import operator
from collections.abc import Callable, Sequence
from typing import Any

from numba.core import cgutils, types
from numba.core.imputils import RefType, iternext_impl, lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer, infer_global, signature
from numba.extending import intrinsic, models, overload, register_model

from gridv4_bt.optimise.kernel.sequence import as_books
from gridv4_bt.optimise.kernel.state import BookArrays, BookRecords, SideRecords


class BooksType(types.Type):
    """The type of the sequence; `arrays` is that of its `BookArrays`.

    `alone` says that there is one symbol: then its rows are known when the code is compiled, which makes it faster.
    """

    def __init__(self, arrays: types.NamedTuple, alone: bool) -> None:
        self.arrays, self.alone = arrays, alone
        super().__init__(f"Books{hashlib.sha256(str(arrays).encode()).hexdigest()[:16]}{'Alone' * alone}")


class BooksIteratorType(types.SimpleIteratorType):
    """The type of a walk through the sequence."""

    def __init__(self, books: BooksType, book: types.NamedTuple) -> None:
        self.books = books
        super().__init__(f"iter({books})", book)


@register_model(BooksType)
class _Books(models.StructModel):
    def __init__(self, manager: Any, kind: BooksType) -> None:
        super().__init__(manager, kind, [("arrays", kind.arrays)])


@register_model(BooksIteratorType)
class _BooksIterator(models.StructModel):
    def __init__(self, manager: Any, kind: BooksIteratorType) -> None:
        super().__init__(manager, kind, [("place", types.EphemeralPointer(types.intp)), ("books", kind.books)])


# --- making a sequence


@overload(as_books, jit_options={"forceinline": True}, strict=False)
def _make_books(arrays: Any, several: Any) -> Any:
    def sequence(arrays: Any, several: Any) -> Any:
        return _wrapped(arrays, several)

    return sequence


@intrinsic
def _wrapped(context: Any, arrays: Any, several: Any) -> Any:
    kind = BooksType(arrays, several is types.none)

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        books = cgutils.create_struct_proxy(kind)(context, builder)
        books.arrays = args[0]
        return books._getvalue()

    return kind(arrays, several), make


# --- its types


def _book_type(typing: Any, books: BooksType) -> types.NamedTuple:
    """Return the type of a book."""
    arrays = dict(zip(BookArrays._fields, books.arrays.types, strict=True))
    row = {name: _returned(typing, operator.getitem, kind, types.intp) for name, kind in arrays.items()}
    side = types.NamedTuple([row[name] for name in SideRecords._fields], SideRecords)
    whole = {"brackets": arrays["brackets"], "news": arrays["news"], "long": side, "short": side}
    return types.NamedTuple([whole.get(name) or row[name] for name in BookRecords._fields], BookRecords)


def _returned(typing: Any, function: Callable[..., Any], *args: types.Type) -> types.Type:
    return typing.resolve_function_type(function, args, {}).return_type


@infer_global(len)
class _TypeLength(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.intp, *args) if isinstance(args[0], BooksType) else None


@infer_global(operator.getitem)
class _TypeItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if not isinstance(args[0], BooksType):
            return None
        return signature(_book_type(self.context, args[0]), args[0], types.intp)


@infer
class _TypeWalk(AbstractTemplate):
    key = "getiter"

    def generic(self, args: Any, kws: Any) -> Any:
        if not isinstance(args[0], BooksType):
            return None
        return signature(BooksIteratorType(args[0], _book_type(self.context, args[0])), *args)


# --- its code


def _arrays(context: Any, builder: Any, kind: BooksType, books: Any) -> dict[str, tuple[types.Type, Any]]:
    """Return type and value of each of the sequence's `BookArrays`."""
    whole = cgutils.create_struct_proxy(kind)(context, builder, value=books).arrays
    values = cgutils.unpack_tuple(builder, whole)
    return dict(zip(BookArrays._fields, zip(kind.arrays.types, values, strict=True), strict=True))


def _count(context: Any, builder: Any, kind: BooksType, books: Any) -> Any:
    if kind.alone:
        return context.get_constant(types.intp, 1)
    symbols, value = _arrays(context, builder, kind, books)["symbol"]
    return cgutils.unpack_tuple(builder, context.make_array(symbols)(context, builder, value).shape)[0]


def _book(context: Any, builder: Any, kind: BooksType, books: Any, place: Any) -> Any:
    """Return the book at a place, of the rows of the arrays."""
    typing, arrays = context.typing_context, _arrays(context, builder, kind, books)

    def item(name: str, index: types.Type, at: Any) -> Any:
        array, value = arrays[name]
        found = typing.resolve_function_type(operator.getitem, (array, index), {})
        return context.get_function(operator.getitem, found)(builder, (value, at))

    def bracket(name: str) -> Any:
        record = _returned(typing, operator.getitem, arrays["symbol"][0], types.intp)
        return context.get_getattr(record, name)(context, builder, record, rows["symbol"], name)

    def side(place: Any) -> Any:
        values = [item(name, types.intp, place) for name in SideRecords._fields]
        return context.make_tuple(builder, of["long"], values)

    if kind.alone:
        place = context.get_constant(types.intp, 0)
    book = _book_type(typing, kind)
    of = dict(zip(BookRecords._fields, book.types, strict=True))
    first = context.get_constant(types.intp, 0)
    rows = {name: item(name, types.intp, first) for name in ("costs", "account")}
    rows |= {name: item(name, types.intp, place) for name in ("symbol", "state", "bar")}
    span = context.make_helper(builder, types.slice2_type)
    span.start, span.stop = bracket("first_bracket"), bracket("end_bracket")
    span.step = context.get_constant(types.intp, 1)
    rows["brackets"] = item("brackets", types.slice2_type, span._getvalue())
    long = builder.mul(place, context.get_constant(types.intp, 2))
    rows["long"], rows["short"] = side(long), side(cgutils.increment_index(builder, long))
    rows["news"] = arrays["news"][1]
    return context.make_tuple(builder, book, [rows[name] for name in BookRecords._fields])


@lower_builtin(len, BooksType)
def _lower_length(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
    return _count(context, builder, signature.args[0], args[0])


@lower_builtin(operator.getitem, BooksType, types.intp)
def _lower_item(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
    return _book(context, builder, signature.args[0], *args)


@lower_builtin("getiter", BooksType)
def _lower_walk(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
    walk = context.make_helper(builder, signature.return_type)
    walk.place = cgutils.alloca_once_value(builder, context.get_constant(types.intp, 0))
    [walk.books] = args
    return walk._getvalue()


@lower_builtin("iternext", BooksIteratorType)
@iternext_impl(RefType.UNTRACKED)
def _lower_next(context: Any, builder: Any, signature: Any, args: Sequence[Any], result: Any) -> None:
    [kind] = signature.args
    walk = context.make_helper(builder, kind, value=args[0])
    place = builder.load(walk.place)
    left = builder.icmp_signed("<", place, _count(context, builder, kind.books, walk.books))
    result.set_valid(left)
    with builder.if_then(left):
        result.yield_(_book(context, builder, kind.books, walk.books, place))
        builder.store(cgutils.increment_index(builder, place), walk.place)
