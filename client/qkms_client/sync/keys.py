"""KeyService: keys, versions, rotation, watch."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from uuid import UUID

from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import keys as flows
from qkms_client.flows.watch import WatchState
from qkms_client.names import key_name
from qkms_client.sync.runner import Runner
from qkms_client.sync.watch import KeyWatch
from qkms_client.types import Algorithm, Grade, Key, KeyState, KeyVersion, Rotation, VersionState


class KeyCalls(Runner):
    """Keys are named `payments` or `keys/payments`, or by a Key.

    Every method raises QkmsError of the reason's class; `timeout` is in seconds, all
    attempts together. A mutation's `request_id` is made here unless given: give the one
    of an OutcomeUnknown, with the same arguments, to repeat a call.
    """

    def create_key(
        self,
        key_id: str,
        *,
        algorithm: Algorithm | str = Algorithm.AES_256_GCM,
        required_grade: Grade | None = None,
        max_staleness: timedelta | None = None,
        labels: Mapping[str, str] | None = None,
        rotation_period: timedelta | None = None,
        exportable: bool = False,
        deletion_protection: bool = False,
        allow_compromised_decrypt: bool = False,
        skip_initial_version: bool = False,
        prefer_qkd: bool = False,
        refuse_relays: bool = False,
        max_qber: float = 0.0,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Key:
        """Creates a key with version 1. Raises KeyExists, GradeTooLow, RelaysRefused, QberTooHigh, InvalidField,
        OutcomeUnknown; ValueError for an algorithm that this client does not know.

        `algorithm` decides which calls the key has. RSA keys take seconds to draw.
        `max_staleness` bounds how long a node cut off from the quorum may go on using the key; with
        0 every use asks a quorum. `rotation_period`: the cluster rotates the key by itself.
        `prefer_qkd`: so it does when the root has QKD again and the primary version was made without;
        `required_grade` lets none be made without. `refuse_relays`: none is made or kept under a root whose QKD
        keys have passed relays; `max_qber` (a fraction up to 0.11, 0: any): nor under one whose QKD keys came
        over a link with a higher QBER, or one that its KME does not tell. `exportable` is fixed here.
        `skip_initial_version`: the first version is staged or imported.
        """
        identifier = new_request_id(request_id)
        further = flows.further_settings(
            rotation_period,
            exportable,
            deletion_protection,
            allow_compromised_decrypt,
            skip_initial_version,
            prefer_qkd,
            refuse_relays,
            max_qber,
        )
        return self._run(
            flows.create_key(
                self._rules, key_id, identifier, algorithm, required_grade, max_staleness, labels, timeout, further
            )
        )

    def get_key(
        self, key: str | Key, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Key:
        """A key's record. Raises KeyNotFound."""
        return self._run(flows.get_key(self._rules, key, consistency, timeout))

    def list_keys(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        algorithm: str | None = None,
        prefix: str = "",
        state: KeyState | None = None,
        page_size: int = 100,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Iterator[Key]:
        """All keys the caller may see, in order of name; fetches page by page (`timeout` is for each).

        Only those with these labels, of this algorithm, with this prefix and in this state, where
        given; deleted ones only when asked for.
        """
        passing = flows.key_filter(labels, algorithm, prefix, state)
        token = ""
        while True:
            keys, token = self._run(flows.key_page(self._rules, token, page_size, consistency, timeout, passing))
            yield from keys
            if not token:
                return

    def list_versions(
        self,
        key: str | Key,
        *,
        states: Collection[VersionState] = (),
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> list[KeyVersion]:
        """All versions of a key in order of number, or those in one of `states`. Raises KeyNotFound."""
        return self._run(flows.list_versions(self._rules, key, consistency, timeout, states))

    def rotate_key(
        self,
        key: str | Key,
        *,
        expected_primary_version: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Rotation:
        """Makes a new primary version; the one before still decrypts.

        Without `expected_primary_version` it is read first, and after a VersionConflict again:
        there will be one more version, whoever else rotates. With it, a conflict is raised.
        Raises KeyNotFound, VersionConflict, RotationPending, GradeTooLow, RelaysRefused, QberTooHigh,
        OutcomeUnknown; repeat after that with the request_id and the expected_primary_version of its metadata.
        """
        return self._run(
            flows.rotate_key(self._rules, key, new_request_id(request_id), expected_primary_version, timeout)
        )

    def disable_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Suspends a version: it neither encrypts nor decrypts until enabled. Raises IllegalTransition."""
        identifier = new_request_id(request_id)
        return self._run(flows.disable_version(self._rules, key, version, identifier, timeout))

    def enable_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Ends a suspension. Raises IllegalTransition."""
        identifier = new_request_id(request_id)
        return self._run(flows.enable_version(self._rules, key, version, identifier, timeout))

    def destroy_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        grace: timedelta | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Schedules destruction after `grace` (None: the cluster's default; 0 is at once and final).

        Raises VersionIsPrimary, IllegalTransition.
        """
        identifier = new_request_id(request_id)
        return self._run(flows.destroy_version(self._rules, key, version, grace, identifier, timeout))

    def restore_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Takes back a scheduled destruction; the version is then SUSPENDED. Raises IllegalTransition."""
        identifier = new_request_id(request_id)
        return self._run(flows.restore_version(self._rules, key, version, identifier, timeout))

    def watch_keys(
        self,
        key: str | Key | None = None,
        *,
        resume_token: str | None = None,
        give_up_after: float | None = 60.0,
    ) -> KeyWatch:
        """Events of one key or of all, from now on or from where `resume_token` was taken.

        Goes on at another node when one fails; raises the last error after `give_up_after` seconds
        without any contact (None: never), HistoryCompacted when the token is too old.
        """
        name = "" if key is None else key_name(key)
        return KeyWatch(self, WatchState(self._rules, name, resume_token, give_up_after))
