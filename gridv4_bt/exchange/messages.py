"""HTTP requests and responses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.params import Params


@dataclass(slots=True)
class Request:
    """An HTTP request; query and body are not decoded."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def params(self) -> Params:
        """Parameters of query and body."""
        return Params(self.query, self.body)


@dataclass(slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    share: float = 1.0  #: of the body that is sent before the connection is cut; 0 sends not even the header
    delay: float = 0.0  #: before it is sent, seconds


def json_response(status: int, answer: Any, headers: dict[str, str] | None = None) -> Response:
    """Return a response with a JSON body."""
    return Response(status, json.dumps(answer, separators=(",", ":")).encode(), headers or {})


def error_response(error: ApiError, headers: dict[str, str] | None = None) -> Response:
    """Return the response of an error."""
    return json_response(error.status, {"code": error.code, "msg": error.text}, headers)


def unavailable() -> Response:
    """Return a 503, Service Unavailable."""
    return error_response(ApiError(-1001, text="Service Unavailable."))
