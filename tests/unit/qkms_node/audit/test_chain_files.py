"""Audit files: whole after a crash, rotated, damaged ones never written over."""

import os
from pathlib import Path

import pytest

from qkms.audit import AuditBroken, Head, append, calls_genesis, check_chain
from qkms_node.access.chain_files import ChainFiles, lines_after, segments

START = Head(0, calls_genesis("c", "node-1"))


def texts(folder: Path, after: int = 0) -> list[bytes]:
    return [line.text for line in lines_after(folder, "calls", after)]


def opened(folder: Path, rotate: int = 1 << 20) -> ChainFiles:
    files = ChainFiles(folder, "calls", START, rotate)
    files.open()
    return files


def write(files: ChainFiles, count: int) -> None:
    for _ in range(count):
        line, head = append(files.head, {"method": "x"})
        files.write([line], head)


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    files = opened(tmp_path)
    write(files, 3)
    files.close()
    again = opened(tmp_path)
    assert again.head == files.head
    write(again, 2)
    lines = texts(tmp_path)
    assert check_chain(START, lines) == again.head
    assert texts(tmp_path, 3) == lines[3:]
    assert segments(tmp_path, "calls")[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b'{"n":4,"met', b"\0" * 300, b'{"n":4,"method":"x"}\n', b"\n"])
def test_what_a_crash_left_of_a_write_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    files = opened(tmp_path)
    write(files, 3)
    files.close()
    path = segments(tmp_path, "calls")[0]
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    again = opened(tmp_path)
    assert again.head == files.head
    assert path.read_bytes() == whole
    write(again, 1)
    assert check_chain(START, texts(tmp_path)).length == 4


def test_an_altered_record_with_others_after_it_is_kept_as_it_is(tmp_path: Path) -> None:
    files = opened(tmp_path)
    write(files, 4)
    files.close()
    path = segments(tmp_path, "calls")[0]
    damaged = path.read_bytes().replace(b'{"n":2,"method":"x"', b'{"n":2,"method":"y"')
    path.write_bytes(damaged)
    with pytest.raises(AuditBroken, match="record 2"):
        opened(tmp_path)
    assert path.read_bytes() == damaged


def test_files_rotate_by_size_and_make_one_chain(tmp_path: Path) -> None:
    files = opened(tmp_path, rotate=300)
    write(files, 12)
    files.close()
    assert len(segments(tmp_path, "calls")) > 2
    assert check_chain(START, texts(tmp_path)) == files.head
    assert [len(texts(tmp_path, after)) for after in (0, 3, 4, 11, 12)] == [12, 9, 8, 1, 0]
    # A crash between the beginning of a file and its first record.
    (tmp_path / "calls-000000000013.jsonl").touch()
    again = opened(tmp_path, rotate=300)
    assert again.head == files.head
    write(again, 1)
    assert check_chain(START, texts(tmp_path)).length == 13


def test_a_failed_write_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path)
    write(files, 2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            write(files, 1)
    assert not files.is_open
    with pytest.raises(OSError, match="closed"):
        write(files, 1)
    files.open()
    assert files.head.length == 2
    write(files, 1)
    assert check_chain(START, texts(tmp_path)).length == 3
