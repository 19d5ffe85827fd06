"""What was found of one invariant."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Judgement:
    """One invariant: what it says, and what broke it; `undecided`: why it could not be told."""

    name: str
    breaches: list[str] = field(default_factory=list)
    undecided: str = ""
