"""What the strategy of a sweep does at a bar of one symbol: `GridStrategyV4.next` on the records of `state`."""

from gridv4_bt.engine.ladder import Plan
from gridv4_bt.optimise.kernel.reading import hear, log_equity, look_at_legs, read_bar
from gridv4_bt.optimise.kernel.state import OrdersRecords
from strategies.steps import (
    check_circuit_breaker,
    check_liquidation,
    check_stop_loss,
    check_var,
    generate_grid,
    match_orders,
    prune,
    trail_anchor,
    update_regime,
)


def decide(inputs, state, books, place):
    """Do the eleven steps of a symbol at a bar."""
    p, account, symbol = inputs.parameters[place], state.account[0], state.symbols[place]
    memory, now, kelly, returns = state.memory[place], state.now[place], state.kelly[place], state.returns[place]
    rules, span = inputs.rules[symbol.rule], inputs.spans[place]
    brackets = inputs.brackets[symbol.first_bracket : symbol.end_bracket]
    row = min(span.first_log + symbol.row - span.first, len(state.log) - 1)
    book, plan = books[place], Plan(state.tally[place], state.trace[row])
    long, short, orders = book.long, book.short, OrdersRecords(books, book)
    read_bar(p, account, memory, now, inputs, book, long, short)
    hear(p, account, memory, now, place, long, short, book.news, kelly, returns)
    look_at_legs(p, account, long, short)
    update_regime(memory, now)  # 1
    check_circuit_breaker(p, memory, now, orders, long, short)  # 2
    check_stop_loss(p, rules, memory, now, orders, long, short)  # 3
    check_liquidation(p, memory, now, orders, brackets, long, short)  # 4
    prune(p, memory, now, orders, long, short)  # 5
    trail_anchor(p, memory, now)  # 6
    check_var(p, now, orders, long, short)  # 7
    generate_grid(p, rules, memory, now, orders, long, short, kelly, returns, plan)  # 8
    match_orders(p, rules, memory, now, orders, long, short, plan)  # 9
    # 10: the exchange has settled, and every fill holds what it has paid.
    log_equity(account, symbol, memory, now, long, short, state.log[row])  # 11
    if account.first_time == 0:
        account.first_time, account.first_day = now.time, memory.day
    account.last_time = now.time
    state.days[memory.day - account.first_day] = now.equity
