"""Binance's error codes, with their texts and HTTP status."""

#: Text and HTTP status by error code. The braces of a text are filled with the details of the error.
CODES: dict[int, tuple[str, int]] = {
    -1000: ("An unknown error occurred while processing the request.", 400),
    -1001: ("Internal error; unable to process your request. Please try again.", 503),
    -1003: ("Too many requests; current limit is {} requests per minute. Please use the websocket for live updates to "
            "avoid polling the API.", 429),
    -1006: ("An unexpected response was received from the message bus. Execution status unknown.", 400),
    -1007: ("Timeout waiting for response from backend server. Send status unknown; execution status unknown.", 408),
    -1008: ("Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try "
            "again.", 503),
    -1015: ("Too many new orders; current limit is {} orders per {}.", 429),
    -1021: ("Timestamp for this request is outside of the recvWindow.", 400),
    -1022: ("Signature for this request is not valid.", 400),
    -1101: ("Too many parameters sent for this endpoint.", 400),
    -1102: ("Mandatory parameter '{}' was not sent, was empty/null, or malformed.", 400),
    -1104: ("Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'.", 400),
    -1106: ("Parameter '{}' sent when not required.", 400),
    -1111: ("Precision is over the maximum defined for this asset.", 400),
    -1115: ("Invalid timeInForce.", 400),
    -1116: ("Invalid orderType.", 400),
    -1117: ("Invalid side.", 400),
    -1120: ("Invalid interval.", 400),
    -1121: ("Invalid symbol.", 400),
    -1128: ("Combination of optional parameters invalid.", 400),
    -1130: ("Data sent for parameter '{}' is not valid.", 400),
    -2007: ("Invalid callBack rate.", 400),
    -2010: ("NEW_ORDER_REJECTED", 400),
    -2011: ("Unknown order sent.", 400),
    -2013: ("Order does not exist.", 400),
    -2014: ("API-key format invalid.", 401),
    -2015: ("Invalid API-key, IP, or permissions for action.", 401),
    -2018: ("Balance is insufficient.", 400),
    -2019: ("Margin is insufficient.", 400),
    -2020: ("Unable to fill.", 400),
    -2021: ("Order would immediately trigger.", 400),
    -2022: ("ReduceOnly Order is rejected.", 400),
    -2023: ("User in liquidation mode now.", 400),
    -2024: ("Position is not sufficient.", 400),
    -2025: ("Reach max open order limit.", 400),
    -2027: ("Exceeded the maximum allowable position at current leverage.", 400),
    -2028: ("Leverage is smaller than permitted: insufficient margin balance.", 400),
    -4003: ("Quantity less than zero.", 400),
    -4004: ("Quantity less than min quantity.", 400),
    -4005: ("Quantity greater than max quantity.", 400),
    -4013: ("Price less than min price.", 400),
    -4014: ("Price not increased by tick size.", 400),
    -4015: ("Client order id is not valid.", 400),
    -4016: ("Limit price can't be higher than {}.", 400),
    -4023: ("Qty not increased by step size.", 400),
    -4024: ("Limit price can't be lower than {}.", 400),
    -4028: ("Leverage {} is not valid", 400),
    -4045: ("Reach max stop order limit.", 400),
    -4046: ("No need to change margin type.", 400),
    -4047: ("Margin type cannot be changed if there exists open orders.", 400),
    -4048: ("Margin type cannot be changed if there exists position.", 400),
    -4059: ("No need to change position side.", 400),
    -4060: ("Invalid position side.", 400),
    -4061: ("Order's position side does not match user's setting.", 400),
    -4067: ("Position side cannot be changed if there exists open orders.", 400),
    -4068: ("Position side cannot be changed if there exists position.", 400),
    -4087: ("User can only place reduce only order.", 400),
    -4088: ("User can not place order currently.", 400),
    -4116: ("ClientOrderId is duplicated.", 400),
    -4118: ("ReduceOnly Order Failed. Please check your existing position and open orders.", 400),
    -4120: ("Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.", 400),
    -4130: ("An open stop or take profit order with GTE and closePosition in the direction is existing.", 400),
    -4131: ("The counterparty's best price does not meet the PERCENT_PRICE filter limit.", 400),
    -4140: ("Invalid symbol status for opening position.", 400),
    -4141: ("Symbol is closed.", 400),
    -4142: ("REJECT: take profit or stop order will be triggered immediately.", 400),
    -4164: ("Order's notional must be no smaller than {} (unless you choose reduce only).", 400),
    -4188: ("Symbol is in pre-delivery or delivery.", 400),
    -4192: ("Trade forbidden due to Cooling-off Period.", 400),
    -4400: ("Futures Trading Quantitative Rules violated, only reduceOnly order is allowed, please try again later.",
            400),
    -4411: ("Please sign the agreement for this contract first.", 400),
    -4531: ("Position mode cannot be changed: the coin-margined account has open orders or positions.", 400),
    -5000: ("Path {} is invalid", 404),
    -5021: ("Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be "
            "recorded in the order history", 400),
    -5022: ("Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not "
            "be recorded in the order history", 400),
    -5027: ("No need to modify the order.", 400),
    -5028: ("Timestamp for this request is outside of the ME recvWindow.", 400),
}  # fmt: skip


class ApiError(Exception):
    """An error that the exchange answers a request with.

    Parameters
    ----------
    code : one of `CODES`, or another one of Binance's.
    details : fill the braces of the text.
    text, status : in place of those of the code.
    """

    def __init__(self, code: int, *details: object, text: str = "", status: int = 0) -> None:
        usual, usual_status = CODES.get(code, ("An error occurred.", 400))
        self.code = code
        self.text = text or usual.format(*details)
        self.status = status or usual_status
        super().__init__(f"{code} {self.text}")
