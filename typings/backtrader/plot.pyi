from typing import Any

from .metabase import MetaParams

class PlotScheme:
    def __getattr__(self, name: str) -> Any: ...

class Plot(metaclass=MetaParams):
    params: Any
    p: Any
    def __init__(self, **params: Any) -> None: ...
    def plot(self, strategy: Any, figid: int = 0, numfigs: int = 1, iplot: bool = True, **kwargs: Any) -> list[Any]: ...
