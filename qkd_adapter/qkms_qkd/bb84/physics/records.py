"""What Alice, Bob and Bob's monitors hold after the quantum transmission. Plain arrays, parallel, one entry per
click; positions are pulse numbers from 0, ascending."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preparations:
    """Alice's notes of what she sent. A real Alice has them for every pulse; only those that clicked are ever
    looked at, so only those are here. `sent` counts all pulses by intensity."""

    position: NDArray[np.int64]
    basis: Bits
    bit: Bits
    intensity: NDArray[np.uint8]
    sent: tuple[int, int, int]

    def __repr__(self) -> str:
        return f"Preparations(clicks={self.position.size}, sent={self.sent}, bit=<redacted>)"


@dataclass(frozen=True, slots=True)
class Detections:
    """Bob's notes: when a detector clicked, in which basis he measured, what he found. `double` counts pulses
    at which both detectors clicked; their bits are random."""

    position: NDArray[np.int64]
    basis: Bits
    bit: Bits
    double: int
    pulses: int

    def __repr__(self) -> str:
        return f"Detections(clicks={self.position.size}, pulses={self.pulses}, bit=<redacted>)"


def joined_preparations(parts: list[Preparations]) -> Preparations:
    """The notes of several stretches, in order, as one."""
    signal, decoy, vacuum = (sum(part.sent[k] for part in parts) for k in range(3))
    return Preparations(
        position=np.concatenate([part.position for part in parts]),
        basis=np.concatenate([part.basis for part in parts]),
        bit=np.concatenate([part.bit for part in parts]),
        intensity=np.concatenate([part.intensity for part in parts]),
        sent=(signal, decoy, vacuum),
    )


def joined_detections(parts: list[Detections]) -> Detections:
    """The notes of several stretches, in order, as one."""
    return Detections(
        position=np.concatenate([part.position for part in parts]),
        basis=np.concatenate([part.basis for part in parts]),
        bit=np.concatenate([part.bit for part in parts]),
        double=sum(part.double for part in parts),
        pulses=sum(part.pulses for part in parts),
    )
