"""What a person sends to someone who helps: the latest records of a bot in one archive, without any secret."""

import io
import re
import zipfile
from typing import Any

from gridv4_bt.config import config_as_toml
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.live.session_status import last_lines

MASK = "***"
_LOG_BYTES = 1_000_000
_FILES = (
    "events.jsonl", "orders.jsonl", "equity.csv", "trades.csv", "state.json", "heartbeat.json", "markets.json",
)  # fmt: skip
#: Values that follow a name of a secret; addresses of messages; signed requests; long keys as exchanges give them.
_SECRETS = (
    re.compile(
        r"(?i)((?:api[_-]?key|secret|token|passw(?:or)?d|passphrase|signature|authorization)\w*"
        r"(?:\\?[\"'])?\s*[=:]\s*(?:\\?[\"'])?)[^\s\"',&}\\]+"
    ),
    re.compile(r"\b\w+://[^\s\"'\\]+"),
    re.compile(r"\b[A-Za-z0-9]{48,}\b"),
)  # fmt: skip


def masked(text: str) -> str:
    """Return a text with everything that looks like a secret replaced."""
    text = _SECRETS[0].sub(rf"\1{MASK}", text)
    text = _SECRETS[1].sub(_masked_address, text)
    return _SECRETS[2].sub(lambda found: found[0] if _is_checksum(found) else MASK, text)


def masked_values(value: Any) -> Any:
    """Return a value of JSON with every text in it masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: masked_values(one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked_values(one) for one in value]
    return value


def bundle(bot: BotFiles) -> bytes:
    """Return a zip of a bot's parameters and of the ends of its records."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.toml", masked(config_as_toml(bot.config())))
        for name in _FILES:
            path = bot.folder / name
            if path.is_file():
                archive.writestr(name, masked("\n".join(last_lines(path, _LOG_BYTES)) + "\n"))
    return out.getvalue()


def _masked_address(found: re.Match[str]) -> str:
    """Mask an address that carries a name and a password, or one of a messenger; leave a plain web address."""
    address = found[0]
    plain = address.startswith(("http://", "https://")) and "@" not in address
    return address if plain else f"{address.partition('://')[0]}://{MASK}"


def _is_checksum(found: re.Match[str]) -> bool:
    """Return whether a long word is the checksum of a state, which is no secret."""
    return found.string[max(found.start() - 12, 0) : found.start()].endswith('"checksum":"')
