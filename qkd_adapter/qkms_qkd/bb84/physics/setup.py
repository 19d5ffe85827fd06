"""What Alice and Bob have built and agreed on: source, fibre, detectors, and the shares of what is sent.

Pure. Intensities and bases are small integers in arrays; their names stand here. Bases are those of Lim et al.
(Phys. Rev. A 89, 022307, 2014) under names that say what they are for: the key basis is their X, the test
basis, all of whose bits are published, their Z.
"""

import math
from dataclasses import dataclass

from qkms_qkd.bb84.decoy import GYS, LinkParameters

SIGNAL, DECOY, VACUUM = 0, 1, 2
INTENSITY_NAMES = ("signal", "decoy", "vacuum")
KEY_BASIS, TEST_BASIS = 0, 1


@dataclass(frozen=True, slots=True)
class Setup:
    """`signal_share`, `decoy_share` and the rest (vacuum) are the probabilities of the three intensities;
    both parties choose the key basis with probability `key_basis_share`, independently. After a click both
    detectors are blind for `dead_time_pulses` pulses. `pulse_rate_hz` matters to currents and rates only."""

    length_km: float
    link: LinkParameters = GYS
    signal_share: float = 0.4
    decoy_share: float = 0.4
    key_basis_share: float = 0.6
    dead_time_pulses: int = 0
    pulse_rate_hz: float = 2e6

    def __post_init__(self) -> None:
        if not (self.length_km >= 0 and math.isfinite(self.length_km)):
            raise ValueError(f"length_km must be 0 km or more, not {self.length_km}")
        if not (self.signal_share > 0 and self.decoy_share > 0 and self.signal_share + self.decoy_share < 1):
            raise ValueError("signal_share and decoy_share must be above 0 and leave something for the vacuum")
        if not 0 < self.key_basis_share < 1:
            raise ValueError(f"key_basis_share must lie between 0 and 1, not {self.key_basis_share}")
        if self.dead_time_pulses < 0:
            raise ValueError(f"dead_time_pulses must be 0 or more, not {self.dead_time_pulses}")
        if not 0 < self.link.decoy < self.link.signal:
            raise ValueError("the decoy must be weaker than the signal and not be the vacuum")

    @property
    def intensities(self) -> tuple[float, float, float]:
        """Mean photons per pulse of signal, decoy and vacuum."""
        return self.link.signal, self.link.decoy, 0.0

    @property
    def shares(self) -> tuple[float, float, float]:
        """The probabilities of signal, decoy and vacuum."""
        return self.signal_share, self.decoy_share, 1.0 - self.signal_share - self.decoy_share

    @property
    def fibre(self) -> float:
        """The probability that a photon survives the fibre."""
        return math.pow(10.0, -self.link.loss_db_per_km * self.length_km / 10)

    @property
    def efficiency(self) -> float:
        """The probability that a photon sent is detected."""
        return self.fibre * self.link.receiver_efficiency

    @property
    def dark_count(self) -> float:
        """The probability of a dark count per detector and pulse: two of them make the background yield."""
        return 1.0 - math.sqrt(1.0 - self.link.background_yield)


def photon_numbers(intensity: float) -> list[float]:
    """The Poisson probabilities of 0, 1, 2 ... photons; the last one holds the tail, below 1e-16."""
    probability = math.exp(-intensity)
    found = [probability]
    while (rest := 1.0 - math.fsum(found)) > 1e-16 and probability > 1e-18:
        probability *= intensity / len(found)
        found.append(probability)
    found[-1] += max(0.0, rest)
    return found
