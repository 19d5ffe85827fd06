"""A line that somebody changed is told with its file and place; it hides no other, and ends no reading."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from ledger_world import World, seeded
from qkms.audit import AuditBroken, Head, append, calls_genesis
from qkms.v1 import audit_pb2 as pb
from qkms_node.access.chain_files import LINE_BYTES, ChainFiles, lines_after, segments
from qkms_node.access.spool import STEM, Spool
from qkms_node.ledger import audit_rules
from qkms_node.rpc.audit_servicer import record
from qkms_node.service.audit_reading import Filter, Page, Window, call_page, mutation_page
from qkms_node.service.audit_verifying import Verdict, verify_calls, verify_mutations

START = Head(0, calls_genesis("c", "node-1"))
COUNT = 9
TAMPERED = 4
FIELDS = {"time_ms": 1_700_000_000_000, "principal": "p", "method": "x", "code": "OK", "decisions": []}

TAMPERINGS: dict[str, Callable[[bytes], bytes]] = {
    "no time": lambda line: line.replace(b'"time_ms":1700000000000', b'"time_ms":null'),
    "endless time": lambda line: line.replace(b'"time_ms":1700000000000', b'"time_ms":1e999'),
    "a time no calendar has": lambda line: line.replace(b'"time_ms":1700000000000', b'"time_ms":' + b"9" * 18),
    "a number as a name": lambda line: line.replace(b'"principal":"p"', b'"principal":[1]'),
    "half a character": lambda line: line.replace(b'"principal":"p"', b'"principal":"\\ud800"'),
    "decisions of another form": lambda line: line.replace(b'"decisions":[]', b'"decisions":[[1],{}]'),
    "decisions that are a number": lambda line: line.replace(b'"decisions":[]', b'"decisions":7'),
    "another code": lambda line: line.replace(b'"OK"', b'"KO"'),
    "another number": lambda line: line.replace(b'{"n":4,', b'{"n":5,'),
    "a number far off": lambda line: line.replace(b'{"n":4,', b'{"n":4000,'),
    "a number below": lambda line: line.replace(b'{"n":4,', b'{"n":-1,'),
    "a number of 5,000 digits": lambda line: line.replace(b'{"n":4,', b'{"n":' + b"9" * 5_000 + b","),
    "a revision of 5,000 digits": lambda line: line[:-1] + b',"revision":' + b"9" * 5_000 + b"}",
    "deep nesting": lambda line: line.replace(b'"decisions":[]', b'"decisions":' + b"[" * 100_000),
    "not UTF-8": lambda line: b"\xff" + line,
    "no object": lambda line: b"7",
    "nothing": lambda line: b"",
    "no hash": lambda line: line[:-70] + b"}",
    "too long": lambda line: line.replace(b'"p"', b'"' + b"p" * 3 * LINE_BYTES + b'"'),
}


def calls(folder: Path) -> tuple[Head, Path]:
    files = ChainFiles(folder, "calls", START, 1 << 20)
    files.open()
    for _ in range(COUNT):
        line, head = append(files.head, FIELDS)
        files.write([line], head)
    files.close()
    return files.head, segments(folder, "calls")[0]


def rewrite(path: Path, place: int, change: Callable[[bytes], bytes]) -> None:
    lines = path.read_bytes().splitlines()
    lines[place] = change(lines[place])
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def all_pages(ask: Callable[[int], Page]) -> list[pb.AuditRecord]:
    found, after = [], 0
    while True:
        page = ask(after)
        found += [record(each) for each in page.records]
        after = page.after
        if not after:
            return found


def verify(folder: Path, end: Head) -> Verdict:
    return verify_calls(folder, "c", START, end, {}, [])


@pytest.mark.parametrize("size", [2, 100])
@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_call_is_told_by_query_and_verify_and_hides_no_other(
    tmp_path: Path, change: Callable[[bytes], bytes], size: int
) -> None:
    end, path = calls(tmp_path)
    whole = path.read_bytes().splitlines()
    rewrite(path, TAMPERED - 1, change)
    place = f"{path.name}, line {TAMPERED}"

    def query(wanted: Filter) -> list[pb.AuditRecord]:
        return all_pages(lambda after: call_page(tmp_path, START, end, after, wanted, size))

    verdict = verify(tmp_path, end)
    assert (verdict.broken, place in verdict.problem) == (TAMPERED, True)

    # Asked for something else, and for a time when nothing was: what is damaged might be it.
    for wanted in (Filter(), Filter(principal="nobody"), Filter(start_ms=1_800_000_000_000)):
        found = query(wanted)
        damaged = [each for each in found if each.damage]
        assert [place in each.damage for each in damaged][:1] == [True]
        # The one after an altered hash does not follow it either.
        assert len(damaged) == 1 or (len(damaged) == 2 and damaged[1].line == whole[TAMPERED])
        if wanted == Filter():
            assert [each.line for each in found[: TAMPERED - 1]] == whole[: TAMPERED - 1]
            assert [each.line for each in found[TAMPERED:]] == whole[TAMPERED:]
        assert len(damaged[0].line) <= LINE_BYTES


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_opening_a_tampered_file_says_which_line_and_leaves_it(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    _, path = calls(tmp_path)
    rewrite(path, TAMPERED - 1, change)
    before = path.read_bytes()
    with pytest.raises(AuditBroken, match=rf"record {TAMPERED}: .*{path.name}, line {TAMPERED}"):
        ChainFiles(tmp_path, "calls", START, 1 << 20).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize("digits", [3, 18, 5_000])
def test_a_last_line_that_counts_too_far_is_no_trace_of_a_crash(tmp_path: Path, digits: int) -> None:
    _, path = calls(tmp_path)
    rewrite(path, COUNT - 2, lambda line: line.replace(b'"OK"', b'"KO"'))
    rewrite(path, COUNT - 1, lambda line: line.replace(b'{"n":9,', b'{"n":' + b"9" * digits + b","))
    with pytest.raises(AuditBroken, match=f"record {COUNT - 1}:"):
        ChainFiles(tmp_path, "calls", START, 1 << 20).open()


@pytest.fixture
def spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, Window]:
    monkeypatch.setattr(audit_rules, "AUDIT_HISTORY", 20)
    world, spool = seeded(), Spool(tmp_path, 4_096, batch=8)
    spool.start()
    for _ in range(60):
        world.create(f"k{world.state.audit_length}")
        spool.follow(world.state)
    spool.close()
    state = world.state
    base = Head(state.audit_length - len(state.audit), state.audit_base)
    return world, Window(base, list(state.audit), Head(state.audit_length, state.audit_head))


def places(records: Sequence[pb.AuditRecord]) -> list[int]:
    return [position for position, each in enumerate(records, start=1) if each.damage]


@pytest.mark.parametrize("number", [b"7", b"39", b"4000", b"9" * 5_000])
@pytest.mark.parametrize("place", ["first", "middle", "last of the files alone", "in the window"])
def test_a_mutation_that_lies_about_its_number_is_told_and_hides_no_other(
    tmp_path: Path, spooled: tuple[World, Window], place: str, number: bytes
) -> None:
    _, window = spooled
    base = window.base.length
    tampered = {"first": 1, "middle": 12, "last of the files alone": base, "in the window": base + 1}[place]
    assert segments(tmp_path, STEM)[1:]
    line = next(lines_after(tmp_path, STEM, tampered - 1))
    assert line.path is not None
    rewrite(line.path, line.place - 1, lambda text: b'{"n":' + number + text[text.index(b",") :])

    verdict = verify_mutations(tmp_path, window)
    assert verdict.broken == tampered
    assert f"{line.path.name}, line {line.place}" in verdict.problem
    found = all_pages(lambda after: mutation_page(tmp_path, window, after, Filter(), 7))
    assert len(found) == window.end.length
    # What the ledger itself holds is read from the ledger.
    assert places(found) == ([tampered] if tampered <= base else [])


def test_a_gap_is_no_damage_to_a_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_rules, "AUDIT_HISTORY", 20)
    world, spool = seeded(), Spool(tmp_path, 4_096, batch=8)
    spool.start()
    for count in (20, 60, 30):
        for _ in range(count):
            world.create(f"k{world.state.audit_length}")
            if count != 60:
                spool.follow(world.state)
    state = world.state
    base = Head(state.audit_length - len(state.audit), state.audit_base)
    window = Window(base, list(state.audit), Head(state.audit_length, state.audit_head))
    assert segments(tmp_path, STEM)
    found = all_pages(lambda after: mutation_page(tmp_path, window, after, Filter(), 7))
    assert places(found) == []
    numbers = [each.number for each in found]
    steps = {b - a for a, b in pairwise(numbers)}
    assert numbers[0] == 1
    assert len(steps) == 2, "there is a gap"
