"""The command line of `gridv4 backup`."""

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Annotated

import typer

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.private_files import private

#: Of a paper session, whose exchange writes it in pieces; the lock is of the bot that works.
_LEFT_OUT = ("lock", "exchange.sqlite", "exchange.sqlite-wal", "exchange.sqlite-shm")


def write_backup(
    state_dir: Annotated[Path, typer.Option(help="The --state-dir of gridv4 live.")],
    out: Annotated[Path, typer.Option(help="Folder of the archives; it is made if need be.")] = Path("backups"),
    keep: Annotated[int, typer.Option(help="So many archives of the directory stay, the newest; 0: all.", min=0)] = 0,
) -> None:
    """Copy a state directory into an archive, also while its bot works.

    State and journal are written by replacing and appending, so a copy of them at any time is one that a session can go
    on from: it takes the exchange's word for what has happened since. Restore it into an empty directory: tar -xzf
    FILE -C DIRECTORY. Only you may read the archive; keys are not in it.
    """
    if not (state_dir / "state.json").is_file():
        raise ConfigError(f"{state_dir}: there is no state.json; name the --state-dir of a session that has decided")
    out.mkdir(parents=True, exist_ok=True)
    name = state_dir.resolve().name
    target = out / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.tar.gz"
    draft = target.with_suffix(".tmp")
    files = sorted(path for path in state_dir.iterdir() if path.is_file() and path.name not in _LEFT_OUT)
    # The state is read first: what is appended to the journal after it does no harm, what is missing in it would.
    files.sort(key=lambda path: not path.name.startswith("state."))
    with open(draft, "wb", opener=private) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for path in files:
            try:
                content, times = path.read_bytes(), path.stat()
            except FileNotFoundError:  # a file that has been replaced or archived meanwhile
                continue
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mtime, entry.mode = len(content), times.st_mtime, 0o600
            archive.addfile(entry, io.BytesIO(content))
    os.replace(draft, target)
    older = sorted(out.glob(f"{name}-????????-??????.tar.gz"))[:-keep] if keep else []
    for path in older:
        path.unlink()
    typer.echo(f"written to {target}, {target.stat().st_size / 1e6:.1f} MB")
