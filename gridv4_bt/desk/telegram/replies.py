"""What a person sends and what is answered, without any of the library's types."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

LONGEST = 4_096  #: characters of a message
_CAPTION = 1_024  #: characters below a picture


@dataclass(frozen=True)
class Asked:
    """A message of a person, or a button that was pressed."""

    update: int  #: Telegram's number of it; the same one when it is delivered again
    chat: int
    user: int
    name: str  #: of the user
    text: str  #: of the message, or what the button stands for
    age_s: float = 0.0  #: seconds since it was sent; of a button 0
    button: str = ""  #: Telegram's id of the press
    message: int = 0  #: number of the message with the button
    is_private: bool = True  #: not in a group


@dataclass(frozen=True)
class Reply:
    """A message to a person: plain text, whose title is shown bold."""

    title: str
    lines: Sequence[str] = ()
    buttons: Sequence[tuple[str, str]] = ()  #: words, and what the button stands for
    picture: bytes = b""  #: PNG
    is_silent: bool = False  #: the phone makes no sound


@dataclass(frozen=True)
class Pressed:
    """The answer to a button: a few words at once, and what the message with the button becomes."""

    words: str
    becomes: Reply | None = None


def pages(reply: Reply) -> Iterator[str]:
    """Yield the texts of a reply as HTML, each short enough for one message; what looks like markup is text."""
    limit = LONGEST - 200
    page, size = [f"<b>{escape(reply.title, quote=False)}</b>"], len(reply.title) + 7
    for line in _short_lines(reply.lines, limit // 6):  # a character may become six, such as &quot;
        text = escape(line, quote=False)
        if size + len(text) + 1 > limit:
            yield "\n".join(page)
            page, size = [], 0
        page.append(text)
        size += len(text) + 1
    yield "\n".join(page)


def caption(reply: Reply) -> str:
    """Return the text below a picture as HTML; what is too long for it is left out."""
    text = f"<b>{escape(reply.title, quote=False)}</b>"
    for line in reply.lines:
        more = f"{text}\n{escape(line, quote=False)}"
        if len(more) > _CAPTION:
            break
        text = more
    return text


def _short_lines(lines: Sequence[str], longest: int) -> Iterator[str]:
    for line in lines:
        for part in line.split("\n"):
            yield from (part[i : i + longest] for i in range(0, max(len(part), 1), longest))
