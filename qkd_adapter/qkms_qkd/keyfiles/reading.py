"""The format of a key file, and which end may draw its key. Pure.

One key a file, named `<key_ID>.json`, with the key object of ETSI GS QKD 014 clause 6.3:

    {"key_ID": "bc490419-7d60-487f-adc1-4ddcc177c139", "key": "<base64>"}

A key_ID is 1 to 128 letters, digits and ._- with a letter or digit first; ids that differ only in case are
one id. The same files go to both ends. So that the ends never draw the same key, each key has one
end that draws it and one that collects it: by the lowest bit of the first byte of SHA-256 over the id in
lower case, 0 for the end whose SAE id sorts first.
"""

import base64
import hashlib
import re

import msgspec

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.messages import Key
from qkms_qkd.unreadable import UNREADABLE

MAX_FILE_BYTES = 64 << 10
SUFFIX = ".json"
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def is_key_id(text: str) -> bool:
    """Whether this may be the id of a key in a file, and so stand in a path."""
    return bool(_KEY_ID.match(text))


def is_drawn_by(local: str, peer: str, key_id: str) -> bool:
    """Whether the key is for `local` to draw and for `peer` to collect."""
    return hashlib.sha256(key_id.lower().encode()).digest()[0] % 2 == (0 if local < peer else 1)


def read_key(source: str, key_id: str, content: bytes, size_bits: int) -> bytes:
    """The key in the file of `key_id`, of exactly `size_bits`. Raises LinkError."""
    try:
        told = msgspec.json.decode(content, type=Key)
        key = base64.b64decode(told.key, validate=True)
    except (*UNREADABLE, ValueError):
        raise LinkError(
            source,
            "KEY_FILE_REFUSED",
            f"the file of key {key_id} is not a whole key object; write it under another name, then rename it",
        ) from None
    if told.key_ID != key_id:
        raise LinkError(
            source, "KEY_FILE_REFUSED", f"the file of key {key_id} holds another key_ID; name it as its key"
        )
    if len(key) * 8 != size_bits:
        raise LinkError(
            source,
            "KEY_WRONG_LENGTH",
            f"key {key_id} has {len(key) * 8} bits where {size_bits} were asked for; it was not used",
        )
    return key
