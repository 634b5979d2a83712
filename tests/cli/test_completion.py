"""The Tab key: a script on request, and what it is answered."""

import re
import sys

import pytest

from gridv4_bt.__main__ import main


@pytest.fixture
def gridv4(monkeypatch, capsys):
    """gridv4(*arguments, **environment) -> exit code, stdout, stderr."""

    def call(*arguments, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["gridv4", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gridv4 ba", {"backtest", "backup"}),
        ("gridv4 data l", {"list"}),
        ("gridv4 params --js", {"--json"}),
        ("gridv4 config show --con", {"--config"}),
    ],
)
def test_commands_and_options_are_completed(line, words, gridv4):
    last = str(len(line.split()) - 1)
    _, out, err = gridv4(_GRIDV4_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=last)
    assert (set(out.split()), err) == (words, "")


def test_zsh_is_told_what_each_command_does(gridv4):
    _, out, _ = gridv4(_GRIDV4_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="gridv4 repo")
    assert '"report":"Show a finished run again' in out


def test_nothing_is_installed(gridv4):
    code, out, err = gridv4("--install-completion")
    assert (code, out) == (2, "") and re.search("No such option.*--install-completion", err)
