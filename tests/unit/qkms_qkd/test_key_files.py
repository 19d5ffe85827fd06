"""Keys that come as files: both ends by key_ID, each once, whatever is wrong with a file or is killed."""

import asyncio
import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.keyfiles.client import KeyFileLink
from qkms_qkd.keyfiles.reading import is_drawn_by

ENDS = ("node-1", "node-2")


def ids_of(drawer: str, number: int) -> list[str]:
    """Ids of keys that this end draws, in order."""
    other = ENDS[1 - ENDS.index(drawer)]
    return [one for one in (f"key-{i:03}" for i in range(200)) if is_drawn_by(drawer, other, one)][:number]


OURS, THEIRS = ids_of("node-1", 4), ids_of("node-2", 4)


def key_of(key_id: str) -> bytes:
    return key_id.encode().ljust(32, b"\x5a")


def content(key_id: str, key: bytes | None = None) -> bytes:
    return json.dumps({"key_ID": key_id, "key": base64.b64encode(key or key_of(key_id)).decode()}).encode()


def put(folder: Path, key_id: str, raw: bytes | None = None, mode: int = 0o600) -> Path:
    file = folder / f"{key_id}.json"
    file.write_bytes(content(key_id) if raw is None else raw)
    file.chmod(mode)
    return file


def site(home: Path, local: str, *key_ids: str) -> tuple[KeyFileLink, Path]:
    """The end of `local` with these keys in its folder."""
    peer = ENDS[1 - ENDS.index(local)]
    folder = home / local / peer
    folder.mkdir(parents=True, mode=0o700)
    for key_id in key_ids:
        put(folder, key_id)
    link = KeyFileLink(source=f"files of {local}", folder=home / local, local_sae=local, peer_sae=peer)
    return link, folder


def leaks(folder: Path, *key_ids: str) -> list[str]:
    """Files that still hold one of these keys."""
    codes = [base64.b64encode(key_of(key_id)) for key_id in key_ids]
    return [file.name for file in folder.iterdir() if any(code in file.read_bytes() for code in codes)]


async def refused(attempt: object) -> LinkError:
    with pytest.raises(LinkError) as caught:
        await attempt  # type: ignore[misc]
    assert "files of node-" in str(caught.value)
    return caught.value


async def test_both_ends_have_the_same_keys_by_key_id_and_each_has_them_once(tmp_path: Path) -> None:
    here, folder = site(tmp_path, "node-1", *OURS, *THEIRS)
    there, other_folder = site(tmp_path, "node-2", *OURS, *THEIRS)
    assert ((await here.status()).stored_key_count, (await there.status()).stored_key_count) == (4, 4)
    drawn = await here.draw(2)
    collected = await there.collect([key.key_id for key in drawn][::-1])
    assert [key.key for key in collected][::-1] == [key.key for key in drawn] == [key_of(one) for one in OURS[:2]]
    assert leaks(folder, *OURS[:2]) == leaks(other_folder, *OURS[:2]) == []
    assert (await here.status()).stored_key_count == 2
    assert (await refused(there.collect(OURS[:1]))).code == "KEY_REPLAYED"
    # A file that comes again is not a fresh key.
    put(folder, OURS[0])
    assert (await here.status()).stored_key_count == 2
    assert [key.key_id for key in await here.draw(2)] == OURS[2:4]
    assert (await refused(here.draw())).code == "STORE_EXHAUSTED"


async def test_no_key_is_drawn_at_both_ends(tmp_path: Path) -> None:
    here, _ = site(tmp_path, "node-1", *OURS, *THEIRS)
    there, _ = site(tmp_path, "node-2", *OURS, *THEIRS)
    assert {key.key_id for key in await here.draw(4)} == set(OURS)
    assert {key.key_id for key in await there.draw(4)} == set(THEIRS)
    assert (await refused(here.collect([OURS[0]]))).code == "KME_REFUSED"


async def test_too_few_keys_change_nothing(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", *OURS[:2])
    before = sorted(folder.iterdir())
    assert (await refused(link.draw(3))).code == "STORE_EXHAUSTED"
    assert sorted(folder.iterdir()) in (before, sorted([*before, folder / "spent"]))
    assert len(await link.draw(2)) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
async def test_a_file_open_to_others_is_not_used(tmp_path: Path, mode: int) -> None:
    link, folder = site(tmp_path, "node-1", OURS[1])
    put(folder, OURS[0], mode=mode)
    put(folder, THEIRS[0], mode=mode)
    assert (await link.status()).stored_key_count == 1
    assert (await link.draw())[0].key_id == OURS[1]
    error = await refused(link.draw())
    assert (error.code, f"mode {mode:04o}" in error.message) == ("STORE_EXHAUSTED", True)
    assert (await refused(link.collect([THEIRS[0]]))).code == "KEY_FILE_REFUSED"


async def test_a_folder_open_to_others_or_missing_is_not_used(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", OURS[0])
    folder.chmod(0o750)
    for attempt in (link.status(), link.draw(), link.collect([THEIRS[0]])):
        assert (await refused(attempt)).code == "KEY_FILE_REFUSED"
    folder.rename(folder.with_name("elsewhere"))
    assert (await refused(link.status())).code == "KEY_FILE_REFUSED"


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
async def test_a_file_of_another_user_is_not_used(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", THEIRS[0])
    os.chown(folder / f"{THEIRS[0]}.json", 12_345, -1)
    error = await refused(link.collect([THEIRS[0]]))
    assert (error.code, "belongs to user 12345" in error.message) == ("KEY_FILE_REFUSED", True)


async def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1")
    target = put(tmp_path, THEIRS[0])
    (folder / target.name).symlink_to(target)
    assert (await refused(link.collect([THEIRS[0]]))).code == "KEY_FILE_REFUSED"
    assert target.read_bytes() == content(THEIRS[0])


@pytest.mark.parametrize("end", [0, 1, 20, -1])
async def test_a_half_written_file_waits_until_it_is_whole(tmp_path: Path, end: int) -> None:
    link, folder = site(tmp_path, "node-1")
    put(folder, THEIRS[0], content(THEIRS[0])[:end])
    assert (await refused(link.collect([THEIRS[0]]))).code == "KEY_FILE_REFUSED"
    put(folder, THEIRS[0])
    assert (await link.collect([THEIRS[0]]))[0].key == key_of(THEIRS[0])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (content("another-id"), "KEY_FILE_REFUSED"),
        (content(THEIRS[0], b"x" * 31), "KEY_WRONG_LENGTH"),
        (content(THEIRS[0], b"x" * 64), "KEY_WRONG_LENGTH"),
        (json.dumps({"key_ID": THEIRS[0], "key": "no base64!"}).encode(), "KEY_FILE_REFUSED"),
        (b" " * 100_000 + content(THEIRS[0]), "KEY_FILE_REFUSED"),
        (b"[" * 60_000, "KEY_FILE_REFUSED"),
    ],
)
async def test_what_is_not_the_key_asked_for_is_not_used(tmp_path: Path, raw: bytes, code: str) -> None:
    link, folder = site(tmp_path, "node-1")
    file = put(folder, THEIRS[0], raw)
    error = await refused(link.collect([THEIRS[0]]))
    assert error.code == code
    assert base64.b64encode(key_of(THEIRS[0])).decode() not in str(error)
    assert file.read_bytes() == raw


async def test_ids_that_differ_only_in_case_are_one_id_given_twice(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", THEIRS[0], OURS[0])
    put(folder, THEIRS[0].upper())
    put(folder, OURS[0].upper())
    assert (await refused(link.collect([THEIRS[0]]))).code == "KEY_REPLAYED"
    assert (await link.status()).stored_key_count == 0
    assert (await refused(link.draw())).code == "STORE_EXHAUSTED"
    assert (await refused(link.collect([THEIRS[1], THEIRS[1]]))).code == "KEY_NOT_FOUND"


@pytest.mark.parametrize("key_id", ["../node-2/key", "", ".hidden", "a/b", "a\nb", "ä", "x" * 129])
async def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, key_id: str) -> None:
    link, _ = site(tmp_path, "node-1", *THEIRS)
    assert (await refused(link.collect([key_id]))).code in ("KEY_NOT_FOUND", "KME_REFUSED")


@pytest.mark.parametrize(
    ("peer", "name"), [("..", "%2E%2E"), ("a/../b", "a%2F..%2Fb"), ("node 2/ä", "node%202%2F%C3%A4")]
)
async def test_a_peer_never_leads_out_of_the_folder(tmp_path: Path, peer: str, name: str) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    link = KeyFileLink(source="files of node-1", folder=tmp_path, local_sae="node-1", peer_sae=peer)
    assert (await link.status()).stored_key_count == 0


# Draws one key and writes its id and digits to standard output, but for being killed before its n-th system call
# that changes the folder.
DRAW = """
import asyncio, os, signal, sys
from pathlib import Path
from qkms_qkd.keyfiles.client import KeyFileLink

home, last = Path(sys.argv[1]), int(sys.argv[2])
done = 0

def fatal(call):
    def counted(*arguments, **named):
        global done
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return call(*arguments, **named)
    return counted

for name in ("rename", "fsync", "write", "unlink"):
    setattr(os, name, fatal(getattr(os, name)))
link = KeyFileLink(source="files of node-1", folder=home / "node-1", local_sae="node-1", peer_sae="node-2")
[key] = asyncio.run(link.draw())
last = -1
print(key.key_id, key.key.hex(), flush=True)
"""


def draw_until(home: Path, last: int) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(home), str(last)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout.split()


async def test_a_kill_between_any_two_steps_loses_a_key_at_most_and_never_gives_one_twice(tmp_path: Path) -> None:
    killed = 0
    for last in range(30):
        home = tmp_path / str(last)
        home.mkdir()
        link, folder = site(home, "node-1", *OURS[:2])
        status, told = draw_until(home, last)
        first = [told[0]] if told else []
        assert not (status and told), "a key left before every step was done"
        stored = (await link.status()).stored_key_count
        assert stored is not None
        assert stored >= 1
        rest = [key.key_id for key in await link.draw(stored)]
        assert len({*first, *rest}) == len(first) + stored
        assert set(rest) <= set(OURS[:2])
        assert leaks(folder, *OURS[:2]) == []
        # Killed before the first step nothing is lost; later, the one key that was being drawn.
        assert stored == (2 if last == 0 else 1)
        if status == 0:
            break
        killed += 1
    assert status == 0
    assert killed >= 7


def test_two_processes_at_once_never_draw_the_same_key(tmp_path: Path) -> None:
    site(tmp_path, "node-1", *OURS)
    command = [sys.executable, "-c", DRAW, str(tmp_path), "1000"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60)[0].split()[0] for process in running]
    assert len(set(told)) == 3


async def test_a_torn_last_line_of_spent_joins_no_other(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", *OURS[:2])
    await link.draw()
    with (folder / "spent").open("ab") as spent:
        spent.write(b"half-an-i")
    await link.draw()
    assert (folder / "spent").read_text().split() == [OURS[0], "half-an-i", OURS[1]]


async def test_a_used_file_is_overwritten_before_its_name_goes(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", THEIRS[0])
    other_name = tmp_path / "still-there"
    other_name.hardlink_to(folder / f"{THEIRS[0]}.json")
    await link.collect([THEIRS[0]])
    assert set(other_name.read_bytes()) == {0}


async def test_one_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    link, folder = site(tmp_path, "node-1", OURS[0])
    assert (await link.status()).stored_key_count == 1
    with (folder / "spent").open("ab") as spent:
        fcntl.flock(spent, fcntl.LOCK_EX)
        drawing = asyncio.create_task(link.draw())
        done, _ = await asyncio.wait([drawing], timeout=0.3)
        assert not done
        fcntl.flock(spent, fcntl.LOCK_UN)
        assert (await drawing)[0].key_id == OURS[0]


async def test_a_file_exchanged_while_it_is_read_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, folder = site(tmp_path, "node-1", OURS[0])
    rename = os.rename

    def exchanged(source: str, target: str, **places: int) -> None:
        fresh = put(tmp_path, OURS[0])
        fresh.replace(folder / fresh.name)
        rename(source, target, **places)

    monkeypatch.setattr(os, "rename", exchanged)
    error = await refused(link.draw())
    assert (error.code, "was exchanged" in error.message) == ("KEY_FILE_REFUSED", True)
    monkeypatch.undo()
    assert (await refused(link.draw())).code == "STORE_EXHAUSTED"
