"""Distinguished Encoding Rules (ITU-T X.690, 10): the little of them that private keys and SLH-DSA need.

Reading is strict: one-byte tags, definite and shortest lengths, at most 65535
bytes. Errors say what is wrong and never what was read, which may be secret.
"""

from qkms.errors import InvalidInput

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
_LONGEST = 0xFFFF


def tlv(tag: int, content: bytes) -> bytes:
    """One element. Raises InvalidInput for content of more than 65535 bytes."""
    size = len(content)
    if size > _LONGEST:
        raise InvalidInput(f"an element of {size} bytes is too long")
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def whole(data: bytes, tag: int) -> bytes:
    """The content of the one element that `data` is. Raises InvalidInput, also for bytes after it."""
    content, rest = first(data, tag)
    if rest:
        raise InvalidInput(f"{len(rest)} bytes follow the end of the encoding")
    return content


def first(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it. Raises InvalidInput."""
    if data[:1] != bytes([tag]):
        raise InvalidInput("the encoding has another element where one is needed")
    size, begin = _length(data)
    end = begin + size
    if end > len(data):
        raise InvalidInput("the encoding ends too early")
    return data[begin:end], data[end:]


def begins_with(data: bytes, tag: int) -> bool:
    """Whether the first element has this tag."""
    return data[:1] == bytes([tag])


def _length(data: bytes) -> tuple[int, int]:
    if len(data) < 2:
        raise InvalidInput("the encoding ends too early")
    if data[1] < 0x80:
        return data[1], 2
    octets = data[1] & 0x7F
    size = int.from_bytes(data[2 : 2 + octets], "big")
    if octets not in (1, 2) or len(data) < 2 + octets or size < (0x80 if octets == 1 else 0x100):
        raise InvalidInput("the encoding has a length that is indefinite, too long or not the shortest")
    return size, 2 + octets
