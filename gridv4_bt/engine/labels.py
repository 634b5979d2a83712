"""The one table of trade labels: their names in files, how they are shown, which step or pruning method closes so.

A new label is a row of `TradeLabel`; figures, page, picture and compiled code take theirs from it.
"""

from enum import StrEnum
from typing import NamedTuple, Self

from gridv4_bt.engine import pruning

#: The strategy's steps that close fills. Entries' own exits, the exchange and people close without one: 0.
STOP_STEP, MARGIN_STEP, PRUNE_STEP = 3, 4, 5


class ClosingKind(NamedTuple):
    """How page and picture mark closings; those of one kind are shown and hidden together."""

    text: str
    colour: str  #: name in the palette, `gridv4_bt.report.palette`
    symbol: str  #: name of the mark


AT_EXIT = ClosingKind("at its exit", "--good", "circle")
STAGE_1 = ClosingKind("stop, stage 1", "--warn", "x")
STAGE_2 = ClosingKind("stop, stage 2", "--bad", "x")
PRUNED_KIND = ClosingKind("pruned", "--prune", "diamond")
REDUCED = ClosingKind("de-leverage, margin call", "--bad", "star")
LIQUIDATED = ClosingKind("LIQUIDATED", "--ink", "hexagram")
OTHER = ClosingKind("other", "--muted", "square")


class TradeLabel(StrEnum):
    """Why a fill, or a part of it, was closed; in the order in which labels and their kinds are listed.

    A row: name in files, kind on the page, what it means, step that closes, code of `prune_reason`.
    """

    GRID = "grid", AT_EXIT, "Closed by its own exit, one spacing from the entry: what a grid lives on."
    STOP1 = (
        "stop1",
        STAGE_1,
        "Stage 1 of the stop: the candle closed too many ATR beyond the leg's average entry.",
        STOP_STEP,
    )
    STOP2 = "stop2", STAGE_2, "Stage 2 of the stop: the price met the stop order of the whole leg.", STOP_STEP
    DEVIANCE = (
        "deviance",
        PRUNED_KIND,
        "Pruned: the close was too many ATR from KAMA, against the fill.",
        PRUNE_STEP,
        pruning.DEVIANCE,
    )
    OLDEST = "oldest", PRUNED_KIND, "Pruned: held longer than the largest age.", PRUNE_STEP, pruning.OLDEST
    GAP = "gap", PRUNED_KIND, "Pruned: the price went too many spacings against the fill.", PRUNE_STEP, pruning.GAP
    FUNDING = (
        "funding",
        PRUNED_KIND,
        "Pruned: funding took too much of the fill's expected profit.",
        PRUNE_STEP,
        pruning.FUNDING,
    )
    OFFSET = "offset", PRUNED_KIND, "Pruned: today's profit paid for closing the worst fill under water.", PRUNE_STEP
    DELEVER = (
        "delever",
        REDUCED,
        "The worst fill, because the unrealised loss came near the limit of the value at risk.",
        PRUNE_STEP,
    )
    MARGIN_CALL = (
        "margin_call",
        REDUCED,
        "The worst fills, because maintenance margin took too much of the equity.",
        MARGIN_STEP,
    )
    LIQUIDATION = (
        "liquidation",
        LIQUIDATED,
        "The exchange closed everything: the equity no longer covered the maintenance margin.",
    )
    DELISTED = "delisted", OTHER, "Its data ended while another symbol went on: settled at its last close."
    MANUAL = "manual", OTHER, "Closed by an order that is not the grid's: by hand, or by a strategy of another kind."

    number: int  #: its place in `LABELS`, which stands for it in compiled code and on the page
    kind: ClosingKind
    meaning: str  #: one sentence
    step: int
    code: int  #: of `gridv4_bt.engine.pruning.prune_reason`, KEEP for what that does not return

    def __new__(
        cls, name: str, kind: ClosingKind = OTHER, meaning: str = "", step: int = 0, code: int = pruning.KEEP
    ) -> Self:
        label = str.__new__(cls, name)
        label._value_ = name
        label.number = len(cls.__members__)
        label.kind, label.meaning, label.step, label.code = kind, meaning, step, code
        return label


LABELS = tuple(TradeLabel)
#: In the order of the labels.
KINDS = tuple(dict.fromkeys(label.kind for label in LABELS))
#: Labels under which the steps cut fills: pruning first, then the guards.
CUTS = tuple(sorted((label for label in LABELS if label.step), key=lambda label: label.step != PRUNE_STEP))

#: Numbers of the labels that the steps and the exchange name themselves; plain, because compiled code holds them.
GRID = TradeLabel.GRID.number
STOP1 = TradeLabel.STOP1.number
STOP2 = TradeLabel.STOP2.number
OFFSET = TradeLabel.OFFSET.number
DELEVER = TradeLabel.DELEVER.number
MARGIN_CALL = TradeLabel.MARGIN_CALL.number
LIQUIDATION = TradeLabel.LIQUIDATION.number
DELISTED = TradeLabel.DELISTED.number
MANUAL = TradeLabel.MANUAL.number
_METHODS = {label.code: label.number for label in LABELS if label.code != pruning.KEEP}
#: Numbers of labels by the code of `prune_reason`; GRID is never read, nothing is closed at KEEP.
PRUNED = (GRID, *(_METHODS[code] for code in range(1, len(_METHODS) + 1)))
