"""The `Plotter` of `gridv4_bt.compat.plotting`, under its public name."""

import sys

from gridv4_bt.compat import plotting

sys.modules[__name__] = plotting  # one module under two names, so that what is set in one is seen by the other
