"""Where a key's secrecy comes from, fixed when the key is made."""

from enum import IntEnum


class Grade(IntEnum):
    """Provenance grades; numbers are those of the protocol."""

    PQC = 1
    QKD = 2
    QKD_PQC = 3
    IMPORTED = 4


_SOURCES = {
    Grade.PQC: frozenset({"PQC"}),
    Grade.QKD: frozenset({"QKD"}),
    Grade.QKD_PQC: frozenset({"QKD", "PQC"}),
    # Made elsewhere: the cluster vouches for nothing.
    Grade.IMPORTED: frozenset(),
}


def satisfies(actual: Grade, required: Grade | None) -> bool:
    """Whether a key of grade `actual` may serve where `required` is asked for (None: anything may)."""
    return required is None or actual is required or _SOURCES[actual] >= _SOURCES[required] > frozenset()
