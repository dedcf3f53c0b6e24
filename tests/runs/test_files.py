"""Files that are either whole or absent, whoever else writes them."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from metarims.runs.files import STALE_SECONDS, clear_scratch, locked, write_atomic


def test_several_may_write_one_file_and_a_reader_finds_it_whole(tmp_path):
    path, contents = tmp_path / "file", {bytes([letter]) * 50_000 for letter in b"abc"}
    write_atomic(path, min(contents))
    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(lambda data=data: [write_atomic(path, data) for _ in range(50)]) for data in contents]
        while not all(done.done() for done in writing):
            assert path.read_bytes() in contents
        for done in writing:
            done.result()
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_in_time(tmp_path):
    """What is young may be another's that still writes."""
    old, young, other = (tmp_path / name for name in (".file.1234abcd.tmp", ".file.5678abcd.tmp", ".files.1.tmp"))
    for path in (old, young, other):
        path.write_text("half")
        before = time.time() - STALE_SECONDS + (60 if path == young else -60)
        os.utime(path, (before, before))
    write_atomic(tmp_path / "file", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", young, other])
    (tmp_path / "folder.tmp").mkdir()
    (tmp_path / "folder.tmp" / "file").write_text("half")
    clear_scratch(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    inside, most = [], []

    def enter(number):
        with locked(tmp_path / "lock"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))
    assert most == [1] * 8
