"""Mutations reach the disk before they leave the ledger's window."""

from pathlib import Path

import pytest

from ledger_world import World, seeded
from qkms.audit import MUTATIONS_GENESIS, Head, check_chain, head_of, number_of
from qkms_node.access.chain_files import lines_after, segments
from qkms_node.access.spool import STEM, Spool
from qkms_node.ledger import audit_rules
from qkms_node.service.audit_reading import Filter, Window, mutation_lines, mutation_page
from qkms_node.service.audit_verifying import verify_mutations

START = Head(0, MUTATIONS_GENESIS)


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_rules, "AUDIT_HISTORY", 20)


def window_of(world: World) -> Window:
    state = world.state
    base = Head(state.audit_length - len(state.audit), state.audit_base)
    return Window(base, list(state.audit), Head(state.audit_length, state.audit_head))


def texts(folder: Path, after: int, window: Window) -> list[bytes]:
    return [line.text for line in mutation_lines(folder, after, window)]


def grow(world: World, spool: Spool, count: int) -> None:
    for _ in range(count):
        world.create(f"k{world.state.audit_length}")
        spool.follow(world.state)


def started(folder: Path) -> Spool:
    spool = Spool(folder, 4_096, batch=8)
    spool.start()
    return spool


def test_files_and_window_are_one_chain_at_every_moment(tmp_path: Path) -> None:
    world, spool = seeded(), started(tmp_path)
    for _ in range(60):
        grow(world, spool, 1)
        lines = texts(tmp_path, 0, window_of(world))
        assert check_chain(START, lines) == Head(world.state.audit_length, world.state.audit_head)
    assert len(segments(tmp_path, STEM)) > 1
    assert verify_mutations(tmp_path, window_of(world)).broken == 0
    after = texts(tmp_path, 30, window_of(world))
    assert [number_of(line) for line in after] == list(range(31, world.state.audit_length + 1))
    found = mutation_page(tmp_path, window_of(world), 10, Filter(method="create_*"), 3)
    assert ([number_of(record.line) for record in found.records], found.after) == ([11, 12, 13], 13)


def test_a_restarted_spool_goes_on_without_a_gap_or_a_double(tmp_path: Path) -> None:
    world, spool = seeded(), started(tmp_path)
    grow(world, spool, 25)
    spool.close()
    grow(world, again := started(tmp_path), 25)
    again.close()
    assert check_chain(START, texts(tmp_path, 0, window_of(world))).length == world.state.audit_length


def test_a_node_that_was_given_a_snapshot_has_a_gap_and_is_not_called_broken(tmp_path: Path) -> None:
    world, spool = seeded(), started(tmp_path)
    grow(world, spool, 20)
    for number in range(60):
        world.create(f"far-{number}")
    grow(world, spool, 30)
    verdict = verify_mutations(tmp_path, window_of(world))
    assert (verdict.broken, verdict.problem) == (0, "")


def test_a_changed_record_is_named_in_the_files_and_in_what_the_ledger_still_knows(tmp_path: Path) -> None:
    world, spool = seeded(), started(tmp_path)
    grow(world, spool, 60)
    for place in (0, 1, 2):
        path = segments(tmp_path, STEM)[place]
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], lines[1].replace(b'"OK"', b'"KO"'), *lines[2:]]))
        verdict = verify_mutations(tmp_path, window_of(world))
        assert verdict.broken == number_of(lines[1])
        path.write_bytes(whole)
    assert verify_mutations(tmp_path, window_of(world)).broken == 0


def test_a_spool_that_cannot_write_says_why_and_is_mended_by_starting_again(tmp_path: Path) -> None:
    blocked = tmp_path / "audit"
    blocked.write_text("in the way")
    world, spool = seeded(), started(blocked)
    assert "File exists" in spool.failure
    grow(world, spool, 10)
    blocked.unlink()
    spool.start()
    grow(world, spool, 1)
    assert spool.failure == ""
    spooled = [line.text for line in lines_after(blocked, STEM, 0)]
    assert head_of(spooled[-1]) == Head(world.state.audit_length, world.state.audit_head)
