"""Reading the files of a run."""

from pathlib import Path

from gridv4_bt.errors import DataError


def read_text(path: Path) -> str:
    """Return the content of a file.

    Raises
    ------
    DataError
        It is missing, damaged, or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a run's folder holds it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
