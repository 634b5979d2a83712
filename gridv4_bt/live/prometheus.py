"""The figures of a session for Prometheus."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gridv4_bt.engine.account import Account
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.monitor import Monitor

#: Figures that are the account's; the others of a bar are those of its symbol.
_OF_ACCOUNT = {
    "equity", "wallet", "unrealized", "drawdown", "margin_ratio", "requests", "failed_requests", "alerts",
}  # fmt: skip


class Metric(NamedTuple):
    """One metric: its values by label values."""

    name: str
    about: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]
    counts: bool = False  #: it only rises, until the next start


def metrics(monitor: Monitor, account: Account | None) -> Iterator[Metric]:
    """Yield all metrics; of a symbol with its name as a label."""
    for name, value in monitor.figures.items():
        about = f"GridStrategyV4: {name.replace('_', ' ')}"
        if name in _OF_ACCOUNT:
            yield Metric(f"gridv4_{name}", about, (), {(): value})
        else:
            yield Metric(
                f"gridv4_{name}", about, ("symbol",), {(s,): one[name] for s, one in monitor.of_symbols.items()}
            )
    fills: dict[tuple[str, ...], float] = {labels: float(count) for labels, count in monitor.fills.items()}
    yield Metric("gridv4_fills", "Executions since the start", ("symbol", "side"), fills, counts=True)
    if account is not None:
        yield from _books(account)


def _books(account: Account) -> Iterator[Metric]:
    yield Metric("gridv4_account_fees", "Fees of the bot so far, quote", (), {(): account.fees})
    yield Metric("gridv4_account_funding", "Funding paid by the bot so far, quote", (), {(): account.funding})
    sums: dict[str, defaultdict[tuple[str, ...], float]] = {
        name: defaultdict(float) for name in ("closings", "net", "fees", "funding")
    }
    for trade in tuple(account.closed):
        symbol = (trade.symbol,)
        sums["closings"][symbol] += 1.0
        sums["net"][symbol] += trade.gross - trade.fees - trade.funding
        sums["fees"][symbol] += trade.fees
        sums["funding"][symbol] += trade.funding
    for name, values in sums.items():
        yield Metric(f"gridv4_closed_{name}", f"Of closings since the start: {name}, quote", ("symbol",), values)


def serve_metrics(
    monitor: Monitor, port: int, books: Callable[[], Account | None] = lambda: None
) -> Callable[[], None]:
    """Serve the figures to Prometheus on 127.0.0.1 and return a function that stops it.

    Parameters
    ----------
    books : returns the account, once there is one.

    Raises
    ------
    ConfigError
        prometheus_client is not installed, or the port is taken.
    """
    try:
        import prometheus_client
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
        from prometheus_client.registry import Collector, CollectorRegistry
    except ImportError:
        raise ConfigError("--metrics needs prometheus_client: pip install 'gridstrategy-v4[live]'") from None

    class Figures(Collector):
        def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
            for one in metrics(monitor, books()):
                family = (CounterMetricFamily if one.counts else GaugeMetricFamily)(
                    one.name, one.about, labels=one.labels
                )
                for labels, value in sorted(one.values.items()):
                    family.add_metric(labels, value)
                yield family

    registry = CollectorRegistry()
    registry.register(Figures())
    try:
        server, thread = prometheus_client.start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(f"--metrics {port}: {error.strerror}; choose another port") from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
