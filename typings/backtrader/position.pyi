class Position:
    size: float
    price: float
    def __init__(self, size: float = 0, price: float = 0.0) -> None: ...
