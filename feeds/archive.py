"""Binance's public archive: one file a month, with its checksum beside it."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import requests

from feeds.patience import Passing, Patience, retry_after
from feeds.series import BadRows, Series, month_span

if TYPE_CHECKING:
    import pandas as pd

ROOT = "https://data.binance.vision/data/futures/um/monthly"
_FOLDERS = {"candles": "klines", "mark": "markPriceKlines", "funding": "fundingRate"}
_USED = {"candles": (0, 1, 2, 3, 4, 5), "mark": (0, 1, 2, 3, 4), "funding": (0, 2)}
_TIMEOUT = 30.0  # seconds
_MICROSECONDS = 100_000_000_000_000  # a time above this is in microseconds


class Archive:
    """A reader of the archive; months that cannot be had there are missing, without an error.

    Attributes
    ----------
    warnings: a sentence on each file that was there and could not be used
    """

    def __init__(self, session: requests.Session, patience: Patience) -> None:
        self.warnings: list[str] = []
        self._session = session
        self._patience = patience
        self._reachable = True

    def month(self, market_id: str, series: Series, month: str) -> pd.DataFrame | None:
        """Return the rows of a month, None if the archive lacks it or its file is damaged."""
        parts = [market_id, series.interval] if series.step_ms else [market_id]
        stem = f"{market_id}-{series.interval or 'fundingRate'}-{month}"
        url = "/".join([ROOT, _FOLDERS[series.kind], *parts, f"{stem}.zip"])
        reason = ""
        for _ in range(2):
            checksum = self._get(f"{url}.CHECKSUM")
            content = self._get(url) if checksum else None
            if checksum is None or content is None:
                return None
            if hashlib.sha256(content).hexdigest().encode() not in checksum.lower().split()[:1]:
                reason = "does not have the checksum beside it"
                continue
            try:
                return series.clean(_rows(content, series), month_span(month))
            except (BadRows, ValueError, LookupError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                reason = f"cannot be used ({' '.join(str(error).split())})"
        self.warnings.append(f"the archive's {stem}.zip {reason}; the exchange is asked instead")
        return None

    def _get(self, url: str) -> bytes | None:
        """Return the content of an address, None if there is none or the archive cannot be reached."""
        if not self._reachable:
            return None
        try:
            return self._patience(lambda: self._get_once(url), attempts=4)
        except Passing:
            self._reachable = False
            return None

    def _get_once(self, url: str) -> bytes | None:
        try:
            response = self._session.get(url, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise Passing(str(error)) from error
        if response.status_code == 429 or response.status_code >= 500:
            raise Passing(f"{url}: HTTP {response.status_code}", retry_after(response.headers, None))
        return response.content if response.status_code == 200 and response.content else None


def _rows(content: bytes, series: Series) -> pd.DataFrame:
    """Return the rows of a zipped CSV file, with or without a line of column names."""
    with zipfile.ZipFile(io.BytesIO(content)) as folder:
        text = folder.read(folder.namelist()[0])
    lines = text.decode("ascii").splitlines()
    if lines and not lines[0][:1].isdigit():
        del lines[0]
    if not lines:
        return series.empty()
    # Not pandas: the floats must be the very ones that the digits of the exchange's answers give.
    rows = np.loadtxt(lines, delimiter=",", usecols=_USED[series.kind], ndmin=2)
    rows[:, 0] = np.where(rows[:, 0] > _MICROSECONDS, rows[:, 0] // 1000, rows[:, 0])
    return series.table(rows)
