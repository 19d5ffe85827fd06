"""Looking for secrets that must not be there.

A canary is a secret the test knows. It is looked for as it is and in the
encodings in which secrets leak: hex, base64 at every alignment, escaped as in
a repr, and all of that again inside whatever gzip or zlib streams the data
holds. Leaves out encryption and other compressions: finding nothing shows that
no copy in these forms is there, not that nobody could find one.
"""

import base64
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# A stream of a compression inside a stream of another, and no deeper.
MAX_DEPTH = 3
MAX_EXPANDED_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 4096

_GZIP = re.compile(rb"\x1f\x8b\x08")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


@dataclass(frozen=True)
class Hit:
    """A canary found: its name, in which form, and in what."""

    canary: str
    form: str
    where: str


def forms(secret: bytes) -> dict[str, bytes]:
    """What to look for, by form. Raises ValueError for a secret under 8 bytes, which chance would find."""
    if len(secret) < 8:
        raise ValueError(f"a canary of {len(secret)} bytes is found by chance; take at least 8")
    found = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "hex with colons": secret.hex(":").encode(),
        "escaped": repr(secret)[2:-1].encode(),
    }
    for shift in range(3):
        standard = _base64_core(secret, shift)
        found[f"base64+{shift}"] = standard
        found[f"base64url+{shift}"] = standard.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def search(data: bytes, canaries: Mapping[str, bytes], where: str) -> list[Hit]:
    """Every canary (by name) in every form that `data` contains, compressed streams included."""
    needles = [(name, form, f) for name, secret in canaries.items() for form, f in forms(secret).items()]
    hits = {
        Hit(name, form, place)
        for place, layer in _layers(data, where, MAX_DEPTH)
        for name, form, needle in needles
        if needle in layer
    }
    return sorted(hits, key=lambda hit: (hit.where, hit.canary, hit.form))


def search_tree(folder: Path, canaries: Mapping[str, bytes]) -> list[Hit]:
    """`search` over every file under `folder`, and over the names of the files."""
    hits: list[Hit] = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        hits += search(name.encode(), canaries, f"the name {name}")
        if path.is_file():
            hits += search(path.read_bytes(), canaries, name)
    return hits


def _base64_core(secret: bytes, shift: int) -> bytes:
    """The characters that only `secret` decides when `shift` bytes precede it in the encoded data."""
    encoded = base64.b64encode(bytes(shift) + secret)
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(secret)) // 6]


def _layers(data: bytes, where: str, depth: int) -> Iterator[tuple[str, bytes]]:
    yield where, data
    if depth == 0:
        return
    for kind, magic, window in (("gzip", _GZIP, 31), ("zlib", _ZLIB, 15)):
        for match in magic.finditer(data):
            inside = _expanded(data, match.start(), window)
            if inside:
                yield from _layers(inside, f"{where} > {kind} at {match.start()}", depth - 1)


def _expanded(data: bytes, start: int, window: int) -> bytes:
    """What a stream at `start` holds, up to where it ends or turns out to be none."""
    stream = zlib.decompressobj(window)
    expanded = bytearray()
    try:
        for position in range(start, len(data), CHUNK_BYTES):
            expanded += stream.decompress(data[position : position + CHUNK_BYTES], MAX_EXPANDED_BYTES)
            if stream.eof or len(expanded) >= MAX_EXPANDED_BYTES:
                break
    except zlib.error:
        pass
    return bytes(expanded)
