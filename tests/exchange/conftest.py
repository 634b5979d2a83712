import pytest
from paper_exchange import Rest, make_exchange

from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import sync_client
from gridv4_bt.exchange.faults import make_faults
from gridv4_bt.exchange.server import ServerThread


@pytest.fixture
def rest():
    """A hedge-mode account of 10,000 at a price of 100 that never moves, asked without a socket."""
    return hedged(make_exchange())


@pytest.fixture(scope="session")
def make_rest():
    """Make such an account with bars, symbols, funding or options of its own (see `make_exchange`)."""
    return lambda *bars, **options: hedged(make_exchange(*bars, **options))


def hedged(exchange):
    asked = Rest(Api(exchange))
    asked.post("positionSide/dual", dualSidePosition="true")
    return asked


class Paper:
    """A server with the real ccxt client."""

    def __init__(self, server, api, client):
        self.server, self.api, self.client = server, api, client

    @property
    def exchange(self):
        return self.api.exchange

    def advance(self, bars=1):
        self.server.call(lambda: self.api.exchange.advance_bars(bars))

    def faults(self, *rules, seed=0):
        self.api.faults = make_faults({"seed": seed, "fault": rules})


@pytest.fixture
def paper():
    """Such an account behind a server, with the real ccxt client."""
    api = Api(make_exchange())
    with ServerThread(api) as server:
        client = sync_client(server.url, clock=lambda: api.exchange.now)
        client.load_markets()
        client.set_position_mode(True)
        yield Paper(server, api, client)
        client.session.close()
