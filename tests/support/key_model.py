"""Keys as a person would describe them: the simple model that the ledger's keys are compared with.

Written from the rules in the protocol's comments, without the ledger's code.
Each method answers with the refusal that is due, or "" and takes effect.
"""

from dataclasses import dataclass, field

STALENESS_MS = 50
QUORUM = 2

DECRYPTING = {"ACTIVE", "DEACTIVATED"}


@dataclass
class Version:
    """One version. `confirmed` holds the voters that opened it."""

    state: str
    stage_ms: int = 0
    waits: bool = False
    validated: bool = False
    compromised: bool = False
    activated: bool = False
    destroy_ms: int = 0
    confirmed: set[str] = field(default_factory=set)


@dataclass
class Key:
    """One key; version n is at n - 1."""

    versions: list[Version] = field(default_factory=list)
    primary: int = 0
    staged: int = 0
    disabled: bool = False
    protected: bool = False
    least: int = 0

    def numbered(self, number: int) -> Version | None:
        return self.versions[number - 1] if 1 <= number <= len(self.versions) else None

    def pass_time(self, now_ms: int) -> None:
        for version in self.versions:
            if version.state == "DESTROY_SCHEDULED" and version.destroy_ms <= now_ms:
                version.state = "DESTROYED"

    def make_primary(self, number: int) -> None:
        old = self.numbered(self.primary)
        if old is not None and old.state == "ACTIVE":
            old.state = "DEACTIVATED"
        version = self.versions[number - 1]
        version.state, version.activated = "ACTIVE", True
        self.primary, self.staged = number, 0

    def rotate(self, expected: int) -> str:
        if expected != self.primary:
            return "VERSION_CONFLICT"
        if self.disabled:
            return "KEY_DISABLED"
        if self.staged:
            return "ROTATION_PENDING"
        self.versions.append(Version("ACTIVE"))
        self.make_primary(len(self.versions))
        return ""

    def stage(self, now_ms: int) -> str:
        if self.disabled:
            return "KEY_DISABLED"
        if self.staged:
            return "ROTATION_PENDING"
        self.versions.append(Version("PRE_ACTIVATION", now_ms, waits=bool(self.primary)))
        self.staged = len(self.versions)
        return ""

    def reject(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if not version.stage_ms:
            return "NOT_A_VOTER"
        if version.state == "PRE_ACTIVATION":
            version.state, self.staged = "DESTROYED", 0
        return ""

    def validate(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state != "PRE_ACTIVATION":
            return "ILLEGAL_TRANSITION"
        if not version.validated and len(version.confirmed) < QUORUM:
            return "VERSION_NOT_VALIDATED"
        version.validated = True
        return ""

    def activate(self, number: int, expected: int, now_ms: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if number == self.primary:
            return ""
        if version.state != "PRE_ACTIVATION":
            return "ILLEGAL_TRANSITION"
        if expected != self.primary:
            return "VERSION_CONFLICT"
        if self.disabled:
            return "KEY_DISABLED"
        if not version.validated:
            return "VERSION_NOT_VALIDATED"
        if version.waits and now_ms < version.stage_ms + STALENESS_MS:
            return "ACTIVATION_TOO_EARLY"
        self.make_primary(number)
        return ""

    def abort(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state == "DESTROYED" and not version.activated:
            return ""
        if version.state != "PRE_ACTIVATION":
            return "ILLEGAL_TRANSITION"
        version.state, self.staged = "DESTROYED", 0
        return ""

    def disable(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state not in {"ACTIVE", "DEACTIVATED", "SUSPENDED"}:
            return "ILLEGAL_TRANSITION"
        version.state = "SUSPENDED"
        return ""

    def enable(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state == ("DEACTIVATED" if number != self.primary else "ACTIVE"):
            return ""
        if version.state != "SUSPENDED":
            return "ILLEGAL_TRANSITION"
        version.state = "ACTIVE" if number == self.primary else "DEACTIVATED"
        return ""

    def compromise(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state == "DESTROYED":
            return "ILLEGAL_TRANSITION"
        version.compromised = True
        if version.state == "PRE_ACTIVATION":
            self.staged = 0
        if version.state != "DESTROY_SCHEDULED":
            version.state = "COMPROMISED"
        return ""

    def destroy(self, number: int, grace_ms: int, now_ms: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state == "ACTIVE":
            return "VERSION_IS_PRIMARY"
        if self.protected:
            return "DELETION_PROTECTED"
        if version.state == "DESTROY_SCHEDULED":
            return ""
        if version.state not in {"DEACTIVATED", "SUSPENDED", "COMPROMISED"}:
            return "ILLEGAL_TRANSITION"
        version.state, version.destroy_ms = "DESTROY_SCHEDULED", now_ms + grace_ms
        return ""

    def restore(self, number: int) -> str:
        version = self.numbered(number)
        if version is None:
            return "VERSION_NOT_FOUND"
        if version.state != "DESTROY_SCHEDULED":
            return "ILLEGAL_TRANSITION"
        version.state = "COMPROMISED" if version.compromised else "SUSPENDED"
        return ""

    def raise_least(self, number: int) -> str:
        if number > self.primary:
            return "MIN_VERSION_TOO_HIGH"
        self.least = number
        return ""

    def deletable(self) -> str:
        if self.protected:
            return "DELETION_PROTECTED"
        return "" if all(v.state == "DESTROYED" for v in self.versions) else "KEY_HAS_VERSIONS"

    def decrypts(self, number: int) -> bool:
        version = self.numbered(number)
        return version is not None and version.state in DECRYPTING and number >= self.least and not self.disabled

    def encrypts(self) -> bool:
        version = self.numbered(self.primary)
        return version is not None and version.state == "ACTIVE" and not self.disabled
