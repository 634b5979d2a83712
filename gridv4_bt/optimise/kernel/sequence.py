"""The order of events in a sweep: one time after another, at which all bars are matched before any symbol decides."""

from gridv4_bt.optimise.kernel.decision import decide
from gridv4_bt.optimise.kernel.exchange import match_bars, next_bars, obey, settle_ended
from gridv4_bt.optimise.kernel.reading import count_news, hear_without_bar, note_regime
from gridv4_bt.optimise.kernel.state import BookArrays


def begin(inputs, state, several):
    """Stand before the first bar and return the books of the symbols."""
    account, symbols = state.account[0], state.symbols
    books = as_books(
        BookArrays(
            inputs.parameters, state.account, symbols, state.books, state.bars, inputs.brackets, state.legs,
            state.fills, state.closes, state.cooling, state.taken, state.orders, state.totals, state.news,
        ),
        several,
    )  # fmt: skip
    for i in range(len(books)):
        if symbols[i].end == 0:
            symbols[i].next, symbols[i].end = inputs.spans[i].begin, inputs.spans[i].end
            obey(inputs, account, symbols[i], inputs.spans[i].first_rule)
    return books


def advance(inputs, state, books, time):
    """Match the bars of a time and decide for each symbol that has one."""
    account, symbols, news = state.account[0], state.symbols, state.news
    account.news = 0
    busy = next_bars(inputs, books, time, state.memory, state.bars)
    if len(books) > 1:
        settle_ended(books, time)
    match_bars(account, books, busy, inputs.parameters[0].liquidation_fee)
    if account.news:
        count_news(account, symbols, state.by_label, news, state.trades)
    for i in range(len(books)):
        if books[i].state.has_bar and symbols[i].row >= inputs.spans[i].first:
            decide(inputs, state, books, i)
        elif account.news:
            long, short = books[i].long, books[i].short
            hear_without_bar(
                inputs.parameters[i], account, state.memory[i], state.now[i], time, i, long, short, news,
                state.kelly[i], state.returns[i],
            )  # fmt: skip
        if books[i].state.has_bar:
            note_regime(inputs.parameters[i], symbols[i], state.memory[i], inputs, inputs.spans[i].begin)


def as_books(arrays, several):
    """Return the symbols of `BookArrays` as a sequence of `BookRecords`, see `gridv4_bt.optimise.kernel.books`."""
    raise NotImplementedError
