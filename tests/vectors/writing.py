"""Writes vector files, or checks that those on disk are what the generator makes."""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

Case = dict[str, Any]


def plain(value: Any) -> Any:
    """Bytes as hexadecimal, all the rest as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def publish(files: dict[str, tuple[str, list[Case]]]) -> None:
    """Writes each file's description and cases; with `--check` on the command line, compares instead."""
    stale = []
    for name, (description, cases) in files.items():
        path = FOLDER / name
        text = json.dumps({"description": description, "cases": plain(cases)}, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif path.read_text() != text:
            stale.append(name)
    if stale:
        sys.exit(f"not what the generator makes: {', '.join(stale)}")
