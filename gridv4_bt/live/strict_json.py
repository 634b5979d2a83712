"""JSON as every parser reads it: NaN is written as null, infinity as the text ``Infinity``."""

import json
import math
from typing import Any

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def dumps(value: Any) -> str:
    """Return a value as one line of strict JSON.

    An infinity becomes the text ``Infinity`` or ``-Infinity``, which `loads` turns back; NaN becomes null and stays it.
    """
    return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def loads(text: str) -> Any:
    """Return the value of a JSON document.

    Raises
    ------
    ValueError
        It is not JSON.
    """
    return restored(json.loads(text))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else "Infinity" if value > 0.0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def restored(value: Any) -> Any:
    """Return a parsed value with its infinities."""
    if isinstance(value, str):
        return _INFINITIES.get(value, value)
    if isinstance(value, dict):
        return {key: restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restored(item) for item in value]
    return value
