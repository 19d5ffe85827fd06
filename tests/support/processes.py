"""Which processes of this machine are at work on a folder. Reads /proc: Linux only."""

from pathlib import Path


def at_work_on(folder: Path) -> list[str]:
    """The command lines that name the folder; of a process that has ended, none is left."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in command:
            found.append(command)
    return found
