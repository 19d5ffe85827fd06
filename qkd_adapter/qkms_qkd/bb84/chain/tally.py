"""What sifting leaves to count: clicks in equal bases by intensity, and the errors among those published.

Both parties arrive at the same tally. Pure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.physics.records import Bits
from qkms_qkd.bb84.physics.setup import KEY_BASIS, TEST_BASIS

Counts = tuple[float, float, float]
"""By intensity: signal, decoy, vacuum. Fractions occur when a tally is scaled to other numbers of pulses."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Clicks in the key basis and in the test basis, and the errors in the test basis."""

    key: Counts = (0, 0, 0)
    test: Counts = (0, 0, 0)
    test_errors: Counts = (0, 0, 0)

    @property
    def qber(self) -> float | None:
        """The error rate of the test basis, all intensities; None without clicks there."""
        return sum(self.test_errors) / sum(self.test) if sum(self.test) else None

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            _sum(self.key, other.key), _sum(self.test, other.test), _sum(self.test_errors, other.test_errors)
        )

    def scaled(self, factor: float) -> "Tally":
        """The tally of `factor` times as many pulses, were all rates the same."""
        one, two, three = (_scaled(counts, factor) for counts in (self.key, self.test, self.test_errors))
        return Tally(one, two, three)


def tally(basis: Bits, intensity: NDArray[np.uint8], test_wrong: Bits) -> Tally:
    """Counts sifted clicks; `test_wrong` has 1 for each error, one entry per click in the test basis."""
    test = intensity[basis == TEST_BASIS]
    return Tally(_by(intensity[basis == KEY_BASIS]), _by(test), _by(test[test_wrong == 1]))


def _by(intensity: NDArray[np.uint8]) -> Counts:
    signal, decoy, vacuum = np.bincount(intensity, minlength=3)
    return int(signal), int(decoy), int(vacuum)


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _scaled(counts: Counts, factor: float) -> Counts:
    return counts[0] * factor, counts[1] * factor, counts[2] * factor
