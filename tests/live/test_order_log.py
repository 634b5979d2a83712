"""orders.jsonl: archived once it is large, read as a whole."""

import gzip
import json

import pytest

from gridv4_bt.live import order_log
from gridv4_bt.live.order_log import OrderLog, order_log_files, read_order_log


def lines(folder):
    return [line.strip() for _, found in read_order_log(folder) for line in found]


def test_a_large_file_is_archived_and_read_on(tmp_path):
    """Ten bytes a line, archived from thirty on: at every fourth line the three before go."""
    log = OrderLog(tmp_path, large=30)
    texts = [f"line {number:04}" for number in range(10)]
    for text in texts:
        log.write(text)
    log.close()
    names = [path.name for path in order_log_files(tmp_path)]
    assert names == [*(f"orders-{number:06}.jsonl.gz" for number in (1, 2, 3)), "orders.jsonl"]
    assert gzip.decompress((tmp_path / names[1]).read_bytes()) == b"line 0003\nline 0004\nline 0005\n"
    assert lines(tmp_path) == texts
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    log = OrderLog(tmp_path, large=30)
    for text in ("next", "and one more", "and another", "last"):
        log.write(text)
    log.close()
    assert len(order_log_files(tmp_path)) == 5
    assert lines(tmp_path) == [*texts, "next", "and one more", "and another", "last"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_archiving_loses_nothing(tmp_path, monkeypatch, step):
    class Crash(BaseException):
        pass

    replace = order_log.os.replace

    def crash(*args):
        if step == "replace" and not str(args[0]).endswith(".tmp"):
            return replace(*args)
        raise Crash

    log = OrderLog(tmp_path, large=10)
    log.write("one line more")
    with monkeypatch.context() as patch:
        patch.setattr(order_log.os, step, crash)
        with pytest.raises(Crash):
            log.write("two")
    log.close()
    assert lines(tmp_path) == ["one line more"]
    log = OrderLog(tmp_path, large=10)
    log.write("two")
    log.close()
    assert [path.name for path in order_log_files(tmp_path)] == ["orders-000001.jsonl.gz", "orders.jsonl"]
    assert lines(tmp_path) == ["one line more", "two"]


def test_a_full_disk_leaves_the_archive_as_it_is(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    log = OrderLog(tmp_path, large=10)
    log.write("one line more")
    with monkeypatch.context() as patch:
        patch.setattr(order_log.os, "fsync", full)
        log.write("two")
    log.close()
    assert [path.name for path in order_log_files(tmp_path)] == ["orders-000001.jsonl", "orders.jsonl"]
    assert lines(tmp_path) == ["one line more", "two"]


def test_what_is_archived_between_two_looks_is_read_once(tmp_path, monkeypatch):
    log = OrderLog(tmp_path, large=10)
    log.write("one line more")
    read, done = order_log._lines, []

    def meanwhile(path):
        found = read(path)
        if not done:
            done.append(True)
            log.write("two")  # archives the first
        return found

    monkeypatch.setattr(order_log, "_lines", meanwhile)
    assert lines(tmp_path) == ["one line more", "two"]
    log.close()


def test_the_audit_is_that_of_one_file(market, monkeypatch):
    from gridv4_bt.audit.audit import audit

    scene = market(bars=40)
    monkeypatch.setattr(OrderLog.__init__, "__defaults__", (4_000,))
    scene.live()
    files = order_log_files(scene.folder)
    assert len(files) > 4
    found = audit(scene.folder)
    assert found.is_identical and len(found.matched) > 10
    whole = "".join(line for _, part in read_order_log(scene.folder) for line in part)
    assert json.loads(whole.splitlines()[0])["kind"] == "session"
    for path in files[:-1]:
        path.unlink()
    files[-1].write_text(whole)
    assert audit(scene.folder).matched == found.matched
