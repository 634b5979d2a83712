"""`gridv4 report`: a finished run shown again."""

import json
import sys

import pytest

from gridv4_bt.__main__ import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run without a page."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    words = ["backtest", "--config", "busy", "--to", "2024-01-03", "--no-report", "--quiet", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gridv4", *words])
        with pytest.raises(SystemExit):
            main()
    return folder


@pytest.fixture
def report(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def test_the_page_is_written_anew(run, report):
    code, out, err = report(run)
    assert (code, err) == (0, "")
    assert "report.html" in out
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!")


def test_json_is_the_summary_and_writes_nothing(run, report):
    (run / "report.html").unlink(missing_ok=True)
    code, out, _ = report(run, "--json")
    assert code == 0 and not (run / "report.html").exists()
    found = json.loads(out)
    assert found.pop("folder") == str(run)
    assert found == json.loads((run / "summary.json").read_text())


def test_a_folder_without_a_run_is_bad_input(tmp_path, report):
    code, _, err = report(tmp_path)
    assert code == 2 and "summary.json" in err
