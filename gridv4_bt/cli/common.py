"""What all commands share: exit codes, JSON, picture files."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gridv4_bt.errors import ConfigError, GridV4Error, StrategyError

INTERRUPTED = 130
#: Of all commands.
EXIT_CODES = {
    0: "done; of `live`: stopped, or the paper market is over",
    1: "the system failed (disk, network, a bug), or a strategy of your own; of `bias`, `audit`, `chaos` and `status`: "
    "it found what it looks for",
    2: "bad input; one line says what and how to cure it, nothing was written or sent",
    3: "of `live`: halted, and a person is needed",
    4: "of `live --check`: something is not in place",
    INTERRUPTED: "interrupted by Ctrl-C",
}
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def run_app(app: typer.Typer) -> None:
    """Run a Typer app and exit: 0 done, 1 the system failed, 2 bad input, 130 interrupted."""
    command: Callable = typer.main.get_command(app)
    try:
        code = command(standalone_mode=False)
    except StrategyError as error:
        _end(str(error), 1)
    except GridV4Error as error:
        _end(str(error), 2)
    except typer.Abort:
        code = INTERRUPTED
    except OSError as error:
        _end(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        # Typer brings its own copy of click, whose usage errors have no public name.
        if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
            raise
        _end(error.format_message(), 2)
    if code == INTERRUPTED:  # Typer turns Ctrl-C into this return value
        _end("interrupted; nothing was written", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def print_json(value: Any) -> None:
    """Print a value as JSON; what JSON does not know, such as a path, as text."""
    print(json.dumps(value, indent=2, default=str))


def check_cash(cash: float) -> None:
    """Refuse a wallet that is no positive number."""
    if not 0.0 < cash < float("inf"):
        raise ConfigError(f"--cash {cash}: must be a number above 0")


def check_picture(out: Path) -> None:
    """Refuse a target that cannot become a picture."""
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: name a file that ends in .png")
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; name a file")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def _end(message: str, code: int) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
