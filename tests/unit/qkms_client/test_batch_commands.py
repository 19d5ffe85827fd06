"""`qkms encrypt --batch` and `decrypt --batch`: JSON lines through a real node, and what becomes of each line."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from qkms.carrying import MAX_BATCH_BYTES, MAX_BATCH_CALLS
from qkms_client.cli import failure
from qkms_client.cli.lines import (
    DECRYPT,
    ENCRYPT,
    MAX_LINE_BYTES,
    LineInvalid,
    LineItem,
    line_id,
    parsed,
    read_lines,
)
from qkms_client.cli.main import main
from qkms_client.cli.many import chunks
from qkms_client.testing import MemoryServer

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The profile of a service, whose key `rows` exists."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    with MemoryServer() as server:
        made = server.profile("payments")
        path = tmp_path_factory.mktemp("profile") / "profile.toml"
        lines = [f'{name} = "{getattr(made, name)}"' for name in ("ca", "certificate", "private_key")]
        lines += ["[endpoints]", *(f'{n} = "{a}"' for n, a in made.endpoints.items())]
        path.write_text("\n".join(lines))
        with server.client("payments") as client:
            client.create_key("rows")
        yield path
    structlog.reset_defaults()


@pytest.fixture
def qkms(profile: Path) -> Run:
    def run(*arguments: str, data: bytes = b"") -> Result:
        return CliRunner().invoke(main, arguments, input=data, env={"QKMS_PROFILE": str(profile)})

    return run


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def as_lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout_bytes.splitlines()]


def test_what_encrypt_writes_decrypt_reads_in_order(qkms: Run) -> None:
    rows = [
        {"plaintext": b64(b"row %d" % n), "id": n, "context": {"tenant": str(n % 7)}, "aad": b64(b"%d" % n)}
        for n in range(2 * MAX_BATCH_CALLS + 9)
    ]
    sealed = qkms("encrypt", "rows", "--batch", data=as_lines(rows))
    assert (sealed.exit_code, sealed.stderr) == (failure.DONE, ""), "no progress where no terminal is"
    assert [line["id"] for line in of(sealed)] == list(range(len(rows)))
    assert {(line["version"], line["grade"]) for line in of(sealed)} == {(1, "PQC")}
    opened = qkms("decrypt", "rows", "--batch", data=sealed.stdout_bytes)
    assert opened.exit_code == failure.DONE
    assert of(opened) == [{"id": n, "plaintext": row["plaintext"], "version": 1} for n, row in enumerate(rows)]


def test_an_item_fails_alone_and_its_line_says_why(qkms: Run) -> None:
    good = of(
        qkms("encrypt", "rows", "--batch", data=as_lines([{"plaintext": b64(b"x"), "context": {"a": "b"}}]))
    )[0]
    lines = as_lines(
        [
            good,
            {**good, "context": {"a": "c"}, "id": "other context"},
            {**good, "contex": {}, "id": "mistyped"},
            {"ciphertext": "AAAA", "id": "malformed"},
        ]
    )
    result = qkms("decrypt", "rows", "--batch", data=lines + b"\nno json\n" + as_lines([good]))
    assert result.exit_code == failure.SOME_FAILED
    first, context, mistyped, malformed, blank, noise, last = of(result)
    assert first == last == {"plaintext": b64(b"x"), "version": 1}
    assert [(line["id"], line["error"]["code"]) for line in (context, mistyped, malformed)] == [
        ("other context", "CIPHERTEXT_REJECTED"),
        ("mistyped", "INPUT_INVALID"),
        ("malformed", "CIPHERTEXT_MALFORMED"),
    ]
    assert blank["error"]["code"] == noise["error"]["code"] == "INPUT_INVALID"
    assert "5 of 7 items failed" in result.stderr


def test_options_are_for_lines_without_their_own(qkms: Run) -> None:
    lines = as_lines([{"plaintext": b64(b"x")}, {"plaintext": b64(b"y"), "context": {}, "aad": ""}])
    bound = ("--context", "tenant=7", "--aad", "table")
    one, two = of(qkms("encrypt", "rows", "--batch", *bound, data=lines))
    assert of(qkms("decrypt", "rows", "--batch", data=as_lines([two])))[0]["plaintext"] == b64(b"y")
    assert (
        of(qkms("decrypt", "rows", "--batch", data=as_lines([one])))[0]["error"]["code"] == "CIPHERTEXT_REJECTED"
    )
    assert of(qkms("decrypt", "rows", "--batch", *bound, data=as_lines([one])))[0]["plaintext"] == b64(b"x")


def test_files_the_summary_and_wrong_usage(qkms: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(as_lines([{"plaintext": b64(b"x")}, {}]))
    files = ("--in", str(source), "--out", str(target))
    done = qkms("encrypt", "rows", "--batch", "--json", *files)
    assert (done.exit_code, json.loads(done.stdout)) == (failure.SOME_FAILED, {"items": 2, "failed": 1})
    assert (len(target.read_bytes().splitlines()), target.stat().st_mode & 0o777) == (2, 0o600)
    for arguments in (files, ("--base64",), ("--in", str(tmp_path / "none"))):
        assert qkms("encrypt", "rows", "--batch", *arguments).exit_code == failure.USAGE
    to_stdout = qkms("encrypt", "rows", "--batch", "--json", "--in", str(source))
    assert (len(of(to_stdout)), json.loads(to_stdout.stderr)) == (2, {"items": 2, "failed": 1})
    assert (qkms("decrypt", "rows", "--batch").stdout_bytes, qkms("decrypt", "rows", "--batch").exit_code) == (
        b"",
        0,
    )


def test_plaintexts_at_the_limit_and_over_it(qkms: Run) -> None:
    rows = as_lines([{"plaintext": b64(bytes(size))} for size in (65536, 65537, 65536, 300_000, 1)])
    result = qkms("encrypt", "rows", "--batch", data=rows)
    assert [line.get("error", {}).get("code") for line in of(result)] == [
        None,
        "PLAINTEXT_TOO_LARGE",
        None,
        "PLAINTEXT_TOO_LARGE",
        None,
    ]


def test_a_slow_producer_is_answered_at_once(profile: Path) -> None:
    command = [str(Path(sys.executable).parent / "qkms"), "encrypt", "rows", "--batch"]
    environment = {**os.environ, "QKMS_PROFILE": str(profile)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(2):
            process.stdin.write(as_lines([{"plaintext": b64(b"x"), "id": n}]))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == n
        process.stdin.close()
        assert process.wait(30) == failure.DONE


def test_a_lost_cluster_ends_it_and_says_where_to_go_on(qkms: Run, profile: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost.toml"
    head = profile.read_text().partition("[endpoints]")[0]
    lost.write_text(f'{head}\n[endpoints]\nnode-1 = "127.0.0.1:1"\n')
    rows = as_lines([{"plaintext": b64(b"x")}] * 3)
    ended = qkms(
        "encrypt", "rows", "--batch", "--profile", str(lost), "--timeout", "0.3", data=b"no json\n" + rows
    )
    assert (ended.exit_code, ended.stdout_bytes) == (failure.UNAVAILABLE, b"")
    assert "go on with the input after line 0" in ended.stderr


@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line)), st.integers(1, 50), st.booleans())
def test_lines_are_the_same_however_they_come(lines: list[bytes], size: int, ended: bool) -> None:
    class Dribble(io.BytesIO):
        def read1(self, limit: int | None = -1, /) -> bytes:
            return super().read(size)

    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    wanted = data.split(b"\n")[: -1 if data.endswith(b"\n") or not data else None]
    assert [line for some in read_lines(Dribble(data)) for line in some] == wanted


def test_a_line_without_end_takes_no_memory_and_is_told() -> None:
    class Endless(io.RawIOBase):
        """Five times the longest line, without its end; then three lines."""

        left = 5 * MAX_LINE_BYTES

        def read1(self, limit: int) -> bytes:
            if self.left > 0:
                self.left -= limit
                return b"x" * limit
            self.left, given = -1, b"" if self.left == -1 else b"tail\na\nb"
            return given

    assert [line for some in read_lines(Endless()) for line in some] == [None, b"a", b"b"]  # type: ignore[arg-type]
    longest = b"y" * MAX_LINE_BYTES
    assert [line for some in read_lines(io.BytesIO(longest + b"\n" + longest + b"y\nz\n")) for line in some] == [
        longest,
        None,
        b"z",
    ]


def test_chunks_hold_what_a_message_holds() -> None:
    assert [len(part) for part in chunks([b"x"] * (2 * MAX_BATCH_CALLS + 1))] == [
        MAX_BATCH_CALLS,
        MAX_BATCH_CALLS,
        1,
    ]
    large = b"x" * (MAX_BATCH_BYTES // 2)
    assert [len(part) for part in chunks([large, large, large, None, b"x" * MAX_LINE_BYTES])] == [2, 2, 1]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (None, "more than"),
        (b"", "one JSON object"),
        (b"[1]", "one JSON object"),
        (b"[" * 100_000, "one JSON object"),
        (b'{"plaintext": "", "plaintext": ""}', "each name once"),
        (b'{"plaintext": "", "id": NaN}', "one JSON object"),
        (b'{"plaintext": "", "id": 1.5}', "id is"),
        (b'{"plaintext": "a"}', "base64"),
        (b'{"plaintext": 7}', "base64"),
        (b'{"plaintext": "", "aad": null}', "base64"),
        (b'{"plaintext": "", "context": {"a": 1}}', "object of strings"),
        (b'{"plaintext": "", "context": {"a": "\\ud800"}}', "half a character"),
        (b'{"plaintext": "", "version": 1}', "not known; there are: aad, context, id, plaintext"),
        (b"{}", "no plaintext"),
    ],
)
def test_a_line_that_is_no_item_is_refused_without_quoting_it(line: bytes | None, problem: str) -> None:
    with pytest.raises(LineInvalid, match=problem) as refused:
        parsed(line, ENCRYPT, {}, b"")
    assert refused.value.__cause__ is None


def test_an_item_is_what_its_line_says() -> None:
    line = b'{"ciphertext": "eA==", "version": 3, "grade": "PQC", "id": "n", "context": {"a": "b"}}'
    assert parsed(line, DECRYPT, {"c": "d"}, b"aad") == LineItem(b"x", {"a": "b"}, b"aad", 3, {"id": "n"})
    for version in (b"0", b"true", b"4294967296", b'"1"'):
        with pytest.raises(LineInvalid, match="version"):
            parsed(b'{"ciphertext": "", "version": ' + version + b"}", DECRYPT, {}, b"")
    assert line_id(b'{"id": 7, "x": 1}') == {"id": 7}
    assert line_id(b"{") == line_id(None) == line_id(b'{"id": []}') == {}
