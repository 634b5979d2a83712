"""The one table of trade labels: their names in files, how they are shown, which step or pruning method closes so.

A new label is a row of `TradeLabel`; figures, page, picture and compiled code take theirs from it.
"""

from enum import StrEnum
from typing import NamedTuple, Self

from gridv4_bt.engine import pruning

#: The strategy's steps that close fills. Entries' own exits, the exchange and people close without one: 0.
STOP_STEP, MARGIN_STEP, PRUNE_STEP = 3, 4, 5


class ClosingKind(NamedTuple):
    """How the report's page marks closings; those of one kind are shown and hidden together."""

    text: str
    colour: str  #: the page's CSS variable
    symbol: str  #: Plotly's name of the mark


AT_EXIT = ClosingKind("at its exit", "--good", "circle")
STAGE_1 = ClosingKind("stop, stage 1", "--warn", "x")
STAGE_2 = ClosingKind("stop, stage 2", "--bad", "x")
PRUNED_KIND = ClosingKind("pruned", "--prune", "diamond")
REDUCED = ClosingKind("de-leverage, margin call", "--bad", "star")
LIQUIDATED = ClosingKind("LIQUIDATED", "--ink", "hexagram")
OTHER = ClosingKind("other", "--muted", "square")

#: Labels of this colour share one entry of the picture's legend: "pruned".
SHARED_COLOUR = "#8458a8"


class TradeLabel(StrEnum):
    """Why a fill, or a part of it, was closed; in the order in which labels and their kinds are listed.

    A row: name in files, kind on the page, colour in the picture, step that closes, code of `prune_reason`.
    """

    GRID = "grid", AT_EXIT, "#2a9d55"
    STOP1 = "stop1", STAGE_1, "#d9a400", STOP_STEP
    STOP2 = "stop2", STAGE_2, "#c8102e", STOP_STEP
    DEVIANCE = "deviance", PRUNED_KIND, SHARED_COLOUR, PRUNE_STEP, pruning.DEVIANCE
    OLDEST = "oldest", PRUNED_KIND, SHARED_COLOUR, PRUNE_STEP, pruning.OLDEST
    GAP = "gap", PRUNED_KIND, SHARED_COLOUR, PRUNE_STEP, pruning.GAP
    FUNDING = "funding", PRUNED_KIND, SHARED_COLOUR, PRUNE_STEP, pruning.FUNDING
    OFFSET = "offset", PRUNED_KIND, SHARED_COLOUR, PRUNE_STEP
    DELEVER = "delever", REDUCED, SHARED_COLOUR, PRUNE_STEP
    MARGIN_CALL = "margin_call", REDUCED, "black", MARGIN_STEP
    LIQUIDATION = "liquidation", LIQUIDATED, "black"
    DELISTED = "delisted", OTHER, "dimgray"
    MANUAL = "manual"

    number: int  #: its place in `LABELS`, which stands for it in compiled code and on the page
    kind: ClosingKind
    colour: str  #: matplotlib's
    step: int
    code: int  #: of `gridv4_bt.engine.pruning.prune_reason`, KEEP for what that does not return

    def __new__(
        cls, name: str, kind: ClosingKind = OTHER, colour: str = SHARED_COLOUR, step: int = 0, code: int = pruning.KEEP
    ) -> Self:
        label = str.__new__(cls, name)
        label._value_ = name
        label.number = len(cls.__members__)
        label.kind, label.colour, label.step, label.code = kind, colour, step, code
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
