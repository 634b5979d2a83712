"""The daily audit of a running session."""

from gridv4_bt.audit.audit import audit
from gridv4_bt.audit.difference_file import figures, write_audit
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import GridV4Error
from gridv4_bt.live.runner import Session
from gridv4_bt.live.session_status import AUDIT


class DailyAudit:
    """An audit of a session after its first bar of each UTC day; a drift beyond a bound raises an alert.

    Parameters
    ----------
    max_drift : most that live and backtest equity may differ at any bar, fraction of the start equity.
    """

    def __init__(self, session: Session, max_drift: float) -> None:
        self._session = session
        self._max_drift = max_drift
        self._day = session.clock.now() // DAY_MS

    def carried_out(self, symbol: str) -> None:
        """Audit the session if a UTC day has begun and the orders of the bar's last symbol are carried out."""
        session = self._session
        day = session.clock.now() // DAY_MS
        if day == self._day or symbol != session.plan.symbols[-1]:
            return
        self._day = day
        try:
            found = audit(session.plan.folder)
            write_audit(found, session.clock.now(), session.plan.folder / AUDIT)
        except (GridV4Error, OSError) as failure:  # it trades on, whatever becomes of the audit
            session.event("alert", what="audit_failed", text=str(failure))
            return
        told = figures(found)
        session.event("audit", **told)
        if found.drift > self._max_drift:
            session.event("alert", what="drift", max_drift=self._max_drift, **told)
