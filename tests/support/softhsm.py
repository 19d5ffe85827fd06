"""A SoftHSM2 token of the test's own."""

import os
import subprocess
from pathlib import Path

PIN = b"12345678"
MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/softhsm/libsofthsm.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)


def module() -> Path | None:
    """The PKCS #11 library; None where SoftHSM2 is not installed (`make softhsm`)."""
    return next((path for path in MODULES if path.exists()), None)


def make_token(folder: Path, label: str) -> dict[str, str]:
    """Makes a token in `folder`; the environment by which the library finds it."""
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    environment = {"SOFTHSM2_CONF": str(configuration)}
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        label,
        "--pin",
        PIN.decode(),
        "--so-pin",
        "87654321",
    ]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    return environment
