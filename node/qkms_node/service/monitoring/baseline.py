"""The QBER that is usual on a link: what a rise is measured from. Pure.

The mean of the first looks, then a mean that follows slowly (a day), so that an
ageing detector moves it and an eavesdropper who comes within hours does not. It
stands still while an alarm of the QBER is raised. Whoever is on the line from the
first look on, or comes over weeks, is in it: against them the operator sets the
value that was measured when the link was taken into service.
"""

import msgspec

FIRST_LOOKS = 5
FOLLOW_S = 86_400.0


class Baseline(msgspec.Struct, frozen=True):
    """The mean `qber` of `count` looks so far, the last of them at `time_s`."""

    qber: float = 0.0
    count: int = 0
    time_s: float = 0.0

    @property
    def known(self) -> float | None:
        """The QBER, once there were enough looks."""
        return self.qber if self.count >= FIRST_LOOKS else None

    def with_look(self, qber: float, time_s: float) -> "Baseline":
        """After one more look at a link whose QBER is in order."""
        if self.count < FIRST_LOOKS:
            weight = 1 / (self.count + 1)
        else:
            weight = min(1 / FIRST_LOOKS, max(0.0, time_s - self.time_s) / FOLLOW_S)
        mean = self.qber + weight * (qber - self.qber)
        return Baseline(mean, min(self.count + 1, FIRST_LOOKS), time_s)
