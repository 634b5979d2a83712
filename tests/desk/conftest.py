import http.client
import json
import logging
import socket
import threading
import time

import pytest
from live_market import Market

from gridv4_bt.desk.state_dirs import StateDirs


@pytest.fixture(scope="session")
def traded(tmp_path_factory):
    """A state directory in which a session has traded on the busy market and then ended, with its Market."""
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    market = Market(tmp_path_factory.mktemp("bots") / "busy", bars=30)
    market.live()
    return market


@pytest.fixture
def bot(traded):
    return StateDirs([traded.folder]).bots()["busy"]


class Browser:
    """Requests to a desk, with the headers of a browser that is logged in, or of none."""

    def __init__(self, port):
        self.port = port
        self.headers = {}

    def ask(self, method, path, body=None, **headers):
        """Return status, headers and text of an answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        text = None if body is None else json.dumps(body)
        sent = self.headers | ({"Content-Type": "application/json"} if text else {})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            line.request(method, path, text, {name: value for name, value in sent.items() if value is not None})
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            line.close()

    def get(self, path, **headers):
        """Return status and value of a GET."""
        status, _, text = self.ask("GET", f"/api/v1{path}", **headers)
        return status, json.loads(text) if text else None

    def post(self, path, body=None, **headers):
        status, _, text = self.ask("POST", f"/api/v1{path}", {} if body is None else body, **headers)
        return status, json.loads(text)

    def log_in(self, token):
        """Log in as a browser does; return what was answered."""
        status, headers, text = self.ask("POST", "/api/v1/login", {"token": token})
        value = json.loads(text)
        if status == 200:
            cookie = headers["set-cookie"]
            self.headers = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": value["csrf"],
                            "Origin": f"http://127.0.0.1:{self.port}"}  # fmt: skip
            return status, cookie
        return status, value


@pytest.fixture
def desk(tmp_path):
    """desk(folder) -> a browser at a desk over a folder; its tokens are in `.rights.tokens`."""
    pytest.importorskip("fastapi")
    uvicorn = pytest.importorskip("uvicorn")
    from gridv4_bt.desk.access import Access
    from gridv4_bt.desk.app import make_app

    servers = []

    def start(*folders, is_tls=False):
        rights = Access(tmp_path / "desk")
        app = make_app(StateDirs(folders), rights, frozenset({"127.0.0.1", "localhost"}), is_tls)
        door = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        browser = Browser(door.getsockname()[1])
        browser.rights = rights
        return browser

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(5)
