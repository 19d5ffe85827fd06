"""Every decoder of bytes from outside meets noise and altered samples: it accepts, or refuses in its own family.

The rows are `decoders` (tests/support). The journal, snapshots, frames and
messages of consensus have their own fuzzing (test_consensus_untrusted_bytes),
signatures, MACs and ciphertexts of keys theirs (test_schemes).
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decoders import DECODERS
from decoders.table import Decoder

pytestmark = [
    # The library still takes these certificates, and says that a later one will not.
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]

EXAMPLES = 15
SOAK_EXAMPLES = int(os.environ.get("QKMS_FUZZ_EXAMPLES", "2000"))

NUMBERS = (b"9" * 5_000, b"9" * 18, b"1e999", b"-1", b"NaN", b"null", b"true")
HUGE = (*NUMBERS, b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7)
DEEP = (b"[" * 20_000, b'{"a":' * 20_000, b"\x91" * 20_000, b"\x81\xa1a" * 20_000, b"\x0a\x7f" * 200)


def altered(sample: bytes) -> st.SearchStrategy[bytes]:
    """Noise, and the sample cut off, spliced, doubled, reordered, flipped, or with absurd values in it."""
    places = st.integers(0, len(sample))
    middles = st.one_of(st.binary(max_size=40), st.sampled_from(HUGE), st.sampled_from(DEEP))

    def spliced(place: int, end: int, middle: bytes) -> bytes:
        return sample[:place] + middle + sample[max(place, end) :]

    def doubled(place: int, end: int) -> bytes:
        return sample[:end] + sample[place:end] + sample[end:]

    def reordered(place: int, end: int) -> bytes:
        first, last = sorted((place, end))
        return sample[last:] + sample[first:last] + sample[:first]

    def flipped(bits: set[int]) -> bytes:
        changed = bytearray(sample)
        for bit in bits:
            changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    def in_place_of_a_number(which: int, value: bytes) -> bytes:
        starts = [i for i in range(len(sample)) if sample[i : i + 1].isdigit() and not sample[i - 1 : i].isdigit()]
        if not starts:
            return value
        start = end = starts[which % len(starts)]
        while sample[end : end + 1].isdigit():
            end += 1
        return sample[:start] + value + sample[end:]

    bits = st.integers(0, max(0, 8 * len(sample) - 1))
    return st.one_of(
        st.binary(max_size=300),
        st.builds(spliced, places, places, middles),
        st.builds(doubled, places, places),
        st.builds(reordered, places, places),
        st.builds(flipped, st.sets(bits, min_size=1, max_size=4)) if sample else st.just(b""),
        st.builds(in_place_of_a_number, st.integers(0, 100), st.sampled_from((*HUGE, *DEEP))),
    )


def decode(decoder: Decoder, raw: bytes) -> None:
    """Taken, or refused in the family, with words."""
    try:
        decoder.decode(raw)
    except decoder.refusals as refusal:
        assert str(refusal)  # noqa: PT017


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_the_sample_is_taken(decoder: Decoder) -> None:
    if decoder.refused:
        with pytest.raises(decoder.refusals):
            decoder.decode(decoder.sample)
    else:
        decoder.decode(decoder.sample)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_what_was_once_a_crash_is_refused(decoder: Decoder) -> None:
    for raw in decoder.regressions:
        decode(decoder, raw)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_altered_bytes_are_taken_or_refused_in_the_family(decoder: Decoder, drawn: st.DataObject) -> None:
    decode(decoder, drawn.draw(altered(decoder.sample)))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@settings(max_examples=SOAK_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_altered_bytes_for_long(decoder: Decoder, drawn: st.DataObject) -> None:
    decode(decoder, drawn.draw(altered(decoder.sample)))
