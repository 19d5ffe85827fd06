"""What an eavesdropper does to a pulse of n photons. Pure.

An attack maps a photon number to routes: which photons arrive at Bob's receiver, in whose state, with what
chance of being detected each. She sees photon numbers, never intensities: the source's phase is random.
- Intercept and resend (Bennett and Brassard 1984): she measures in a random basis and sends as many photons
  on in the state she found, so that no yield changes.
- Photon-number splitting (Brassard, Luetkenhaus, Mor, Sanders, Phys. Rev. Lett. 85, 1330, 2000): she keeps one
  photon of each pulse that has several, blocks single photons, and, with a lossless fibre of her own, lets
  just so many pulses through that the signal's gain is what Bob expects. She adds no error.
- Blinding (Lydersen et al., Nature Photonics 4, 686, 2010): bright light makes Bob's detectors classical. She
  measures in a random basis and sends a bright pulse that clicks only if Bob chose hers, never twice at once.
  She fires so often that every yield is what Bob expects, decoys included.
Left out: attacks on the source, and those that need a quantum computer; the bounds of `finite_key` cover
what is not about detectors.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from qkms_qkd.bb84.physics.setup import Setup, photon_numbers


class State(IntEnum):
    """Whose state arrives: Alice's own, the eavesdropper's copy, or a faked one into blinded detectors."""

    OWN = 0
    RESENT = 1
    FAKED = 2


@dataclass(frozen=True, slots=True)
class Route:
    """With probability `share`, `photons` arrive in `state`, each detected with probability `efficiency`.
    A faked pulse clicks or does not, with `efficiency`, whatever its photons; 0 photons: her bit is random."""

    share: float
    photons: int
    efficiency: float
    state: State = State.OWN


class Attack(Protocol):
    """An eavesdropper's strategy. `fraction` is the share of the pulses that she attacks."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def fraction(self) -> float:
        """From 0 to 1."""

    def routes(self, setup: Setup, photons: int) -> list[Route]:
        """What becomes of a pulse of so many photons; the shares add up to 1."""


@dataclass(frozen=True, slots=True)
class NoAttack:
    """Nobody listens."""

    name: str = "none"
    fraction: float = 0.0

    def routes(self, setup: Setup, photons: int) -> list[Route]:
        """The fibre and the receiver."""
        return [Route(1.0, photons, setup.efficiency)]


@dataclass(frozen=True, slots=True)
class InterceptResend:
    """Measures this fraction of the pulses."""

    fraction: float
    name: str = "intercept-resend"

    def routes(self, setup: Setup, photons: int) -> list[Route]:
        """The same photons, some of them in her state."""
        return [
            Route(1.0 - self.fraction, photons, setup.efficiency),
            Route(self.fraction, photons, setup.efficiency, State.RESENT),
        ]


@dataclass(frozen=True, slots=True)
class PhotonNumberSplitting:
    """Splits this fraction of the pulses; `lossless`: what she lets through skips the fibre's loss."""

    fraction: float
    lossless: bool = True
    name: str = "pns"

    def routes(self, setup: Setup, photons: int) -> list[Route]:
        """Single photons mostly blocked, one of several kept."""
        untouched = Route(1.0 - self.fraction, photons, setup.efficiency)
        if photons == 0:
            return [Route(1.0, 0, 0.0)]
        single, several = self._forwarded(setup)
        forward, left = (single, 1) if photons == 1 else (several, photons - 1)
        return [
            untouched,
            Route(self.fraction * forward, left, self._efficiency(setup)),
            Route(self.fraction * (1.0 - forward), 0, 0.0),
        ]

    def _efficiency(self, setup: Setup) -> float:
        return setup.link.receiver_efficiency if self.lossless else setup.efficiency

    def _forwarded(self, setup: Setup) -> tuple[float, float]:
        """The fractions of single photons and of split pulses let through, to match the signal's gain."""
        probabilities = photon_numbers(setup.link.signal)

        def gain(efficiency: float, kept: int, first: int) -> float:
            return sum(
                probability * (1.0 - (1.0 - efficiency) ** (n - kept))
                for n, probability in enumerate(probabilities)
                if n >= first
            )

        wanted = gain(setup.efficiency, 0, 1)
        split = gain(self._efficiency(setup), 1, 2)
        if split >= wanted:
            return 0.0, wanted / split
        singles = probabilities[1] * self._efficiency(setup)
        return min(1.0, (wanted - split) / singles), 1.0


@dataclass(frozen=True, slots=True)
class Blinding:
    """Holds the detectors blind for this fraction of the time."""

    fraction: float
    name: str = "blinding"

    def routes(self, setup: Setup, photons: int) -> list[Route]:
        """Half of her pulses meet Bob's basis, so she fires at twice the yield, as far as that goes."""
        silent = (1.0 - setup.link.background_yield) * (1.0 - setup.efficiency) ** photons
        fired = min(1.0, 2.0 * (1.0 - silent))
        return [
            Route(1.0 - self.fraction, photons, setup.efficiency),
            Route(self.fraction, photons, fired / 2.0, State.FAKED),
        ]


def attack_named(name: str, fraction: float) -> Attack:
    """The attack of the command line. Raises ValueError."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"the attacked fraction must be from 0 to 1, not {fraction}")
    if fraction == 0:
        return NoAttack()
    match name:
        case "intercept-resend":
            return InterceptResend(fraction)
        case "pns":
            return PhotonNumberSplitting(fraction)
        case "blinding":
            return Blinding(fraction)
    raise ValueError(f"there is no attack named {name}")
