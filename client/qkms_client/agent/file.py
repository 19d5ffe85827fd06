"""A key handed over as a file, to whatever reads one.

The file is replaced whole, with mode 0600; the key before it stays beside it as `<name>.previous`, for readers
that must still open what the other end sent under it. A command may be run after each change, without a shell,
with the key's id in QKMS_KEY_ID. The key is in clear in the file: put it on a tmpfs such as /run.
"""

import base64
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from qkms_client.agent.rotation import AgreedKey
from qkms_client.agent.target import TargetFailed

PREVIOUS = ".previous"
COMMAND_TIMEOUT_S = 30.0
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda key: key.hex().encode() + b"\n",
    "base64": lambda key: base64.b64encode(key) + b"\n",
}


class FileTarget:
    """The file at `path`, in one of ENCODINGS; `command` is run after each change."""

    def __init__(self, path: Path, encoding: str, command: Sequence[str] = ()) -> None:
        self._path = path
        self._encode = ENCODINGS[encoding]
        self._command = tuple(command)

    def install(self, key: AgreedKey, *, initiates: bool) -> None:
        """See Target."""
        content = self._encode(key.key)
        try:
            if self._now() == content:
                return
            self._replace(content)
        except OSError as error:
            raise TargetFailed(f"{self._path}: {error.strerror}; check the folder and its owner") from error
        if self._command:
            self._run(key)

    def _now(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _replace(self, content: bytes) -> None:
        aside = self._path.with_name(self._path.name + ".new")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        previous = self._path.with_name(self._path.name + PREVIOUS)
        if self._path.exists():
            # A second name first: at no moment is there no file.
            previous.unlink(missing_ok=True)
            os.link(self._path, previous)
        aside.rename(self._path)

    def _run(self, key: AgreedKey) -> None:
        environment = os.environ | {"QKMS_KEY_ID": key.key_id, "QKMS_KEY_GRADE": key.grade}
        try:
            done = subprocess.run(
                self._command, env=environment, check=False, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetFailed(f"{self._command[0]}: {error}") from error
        if done.returncode != 0:
            raise TargetFailed(f"{self._command[0]} ended with status {done.returncode}; the key is in place")
