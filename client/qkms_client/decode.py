"""Protocol messages as the records of `types` and `secret`. Nothing is decided here."""

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from qkms.v1 import cluster_pb2, common_pb2, crypto_pb2, key_pb2, qkd_pb2, session_pb2
from qkms_client import types as t
from qkms_client.errors import AnswerNotUnderstood
from qkms_client.secret import DataKey, Decapsulated, Decrypted, DerivedKey, Encapsulated


def header(message: common_pb2.ResponseHeader) -> t.Header:
    """A response header."""
    return t.Header(
        revision=message.revision,
        term=message.term,
        leader_known=message.leader_known,
        staleness=length(message.staleness) if message.HasField("staleness") else None,
        consistency=t.Level(message.consistency),
        node_id=message.node_id,
        leader_id=message.leader_id,
    )


def key(message: key_pb2.Key, head: t.Header, replayed: bool = False) -> t.Key:
    """A key."""
    return t.Key(
        name=message.name,
        algorithm=_algorithm(message.algorithm),
        primary_version=message.primary_version,
        version_count=message.version_count,
        create_time=time(message.create_time),
        required_grade=t.Grade(message.required_grade),
        max_staleness=length(message.max_staleness),
        labels=dict(message.labels),
        etag=message.etag,
        revision=message.revision,
        state=t.KeyState(message.state),
        staged_version=message.staged_version,
        rotation_period=length(message.rotation_period) if message.HasField("rotation_period") else None,
        next_rotation_time=time(message.next_rotation_time),
        min_decrypt_version=message.min_decrypt_version,
        min_encrypt_version=message.min_encrypt_version,
        deletion_protection=message.deletion_protection,
        exportable=message.exportable,
        allow_compromised_decrypt=message.allow_compromised_decrypt,
        delete_time=time(message.delete_time),
        prefer_qkd=message.prefer_qkd,
        refuse_relays=message.refuse_relays,
        max_qber=message.max_qber,
        replayed=replayed,
        header=head,
    )


def version(message: key_pb2.KeyVersion, head: t.Header, replayed: bool = False) -> t.KeyVersion:
    """A key version."""
    return t.KeyVersion(
        name=message.name,
        version=message.version,
        state=t.VersionState(message.state),
        grade=t.Grade(message.grade),
        root_epoch=message.root_epoch,
        create_time=time(message.create_time),
        activate_time=time(message.activate_time),
        destroy_time=time(message.destroy_time),
        qkd_key_ids=tuple(message.qkd_key_ids),
        staging=_staging(message.staging) if message.HasField("staging") else None,
        compromise_time=time(message.compromise_time),
        reason=message.reason,
        relayed=message.relayed,
        qber=message.qber,
        replayed=replayed,
        header=head,
    )


def _staging(message: key_pb2.Staging) -> t.Staging:
    return t.Staging(
        revision=message.revision,
        stage_time=time(message.stage_time),
        activate_after_time=time(message.activate_after_time),
        voters=tuple(message.voters),
        confirmed=dict(message.confirmed),
        validate_time=time(message.validate_time),
        rejected=dict(message.rejected),
    )


def import_parameters(message: key_pb2.ImportParameters, head: t.Header, replayed: bool) -> t.ImportParameters:
    """The public side of an import."""
    return t.ImportParameters(
        name=message.name,
        method=message.method,
        public_key=message.public_key,
        expire_time=time(message.expire_time),
        replayed=replayed,
        header=head,
    )


def event(message: key_pb2.KeyEvent) -> t.KeyEvent:
    """An event of a watch."""
    return t.KeyEvent(
        revision=message.revision,
        type=t.EventType(message.type),
        name=message.name,
        version=message.version,
        state=t.VersionState(message.state),
        time=time(message.time),
        severity=t.AlarmSeverity(message.severity),
    )


def encrypted(message: crypto_pb2.EncryptResponse) -> t.Encrypted:
    """The answer of Encrypt."""
    return t.Encrypted(message.ciphertext, message.version, t.Grade(message.grade), header(message.header))


def decrypted(message: crypto_pb2.DecryptResponse) -> Decrypted:
    """The answer of Decrypt."""
    return Decrypted(message.plaintext, message.version, header(message.header))


def data_key(message: crypto_pb2.GenerateDataKeyResponse) -> DataKey:
    """The answer of GenerateDataKey."""
    return DataKey(
        message.plaintext, message.ciphertext, message.version, t.Grade(message.grade), header(message.header)
    )


def derived_key(message: crypto_pb2.DeriveKeyResponse) -> DerivedKey:
    """The answer of DeriveKey."""
    return DerivedKey(message.derived_key, message.version, t.Grade(message.grade), header(message.header))


def rewrapped(message: crypto_pb2.RewrapResponse) -> t.Rewrapped:
    """The answer of Rewrap."""
    return t.Rewrapped(
        message.ciphertext,
        message.version,
        message.source_version,
        t.Grade(message.grade),
        header(message.header),
    )


def signature(message: crypto_pb2.SignResponse) -> t.Signature:
    """The answer of Sign."""
    return t.Signature(message.signature, message.version, t.Grade(message.grade), header(message.header))


def mac(message: crypto_pb2.MacResponse) -> t.Mac:
    """The answer of Mac."""
    return t.Mac(message.mac, message.version, t.Grade(message.grade), header(message.header))


def verification(message: crypto_pb2.VerifyResponse | crypto_pb2.VerifyMacResponse) -> t.Verification:
    """The answer of Verify or VerifyMac."""
    return t.Verification(message.valid, message.version, header(message.header))


def public_key(message: crypto_pb2.GetPublicKeyResponse) -> t.PublicKey:
    """The answer of GetPublicKey."""
    return t.PublicKey(
        public_key=message.public_key,
        format=t.PublicKeyFormat(message.format),
        algorithm=_algorithm(message.algorithm),
        version=message.version,
        grade=t.Grade(message.grade),
        header=header(message.header),
    )


def encapsulated(message: crypto_pb2.EncapsulateResponse) -> Encapsulated:
    """The answer of Encapsulate."""
    return Encapsulated(
        message.shared_secret, message.ciphertext, message.version, t.Grade(message.grade), header(message.header)
    )


def decapsulated(message: crypto_pb2.DecapsulateResponse) -> Decapsulated:
    """The answer of Decapsulate."""
    return Decapsulated(message.shared_secret, message.version, header(message.header))


def session(message: session_pb2.Session, head: t.Header) -> t.Session:
    """A session's public state."""
    return t.Session(
        name=message.name,
        state=t.SessionState(message.state),
        initiator=message.initiator,
        responder=message.responder,
        grade=t.Grade(message.grade),
        root_epoch=message.root_epoch,
        qkd_key_ids=tuple(message.qkd_key_ids),
        create_time=time(message.create_time),
        expire_time=time(message.expire_time),
        header=head,
    )


def link(message: qkd_pb2.Link, node_id: str) -> t.Link:
    """A quantum link as `node_id` sees it."""
    return t.Link(
        peer_node_id=message.peer_node_id,
        local_sae_id=message.local_sae_id,
        peer_sae_id=message.peer_sae_id,
        source_kme_id=message.source_kme_id,
        target_kme_id=message.target_kme_id,
        state=t.LinkState(message.state),
        qber=message.qber if message.HasField("qber") else None,
        skr=message.skr if message.HasField("skr") else None,
        stored_key_count=message.stored_key_count if message.HasField("stored_key_count") else None,
        max_key_count=message.max_key_count if message.HasField("max_key_count") else None,
        key_size=message.key_size,
        error=message.error,
        observe_time=time(message.observe_time),
        node_id=node_id,
        eskr=message.eskr if message.HasField("eskr") else None,
        expected_consumption=message.expected_consumption if message.HasField("expected_consumption") else None,
        expected_exhaustion_time=time(message.expected_exhaustion_time),
        link_overloaded=message.link_overloaded,
        qber_baseline=message.qber_baseline if message.HasField("qber_baseline") else None,
        discarded_key_count=message.discarded_key_count,
        alarms=tuple(link_alarm(alarm, node_id) for alarm in message.alarms),
        kmes=tuple(link_kme(kme) for kme in message.kmes),
        prefetched_key_count=message.prefetched_key_count,
    )


def link_kme(message: qkd_pb2.LinkKme) -> t.LinkKme:
    """One of the KMEs of a link."""
    return t.LinkKme(
        kme_id=message.kme_id,
        priority=message.priority,
        state=t.LinkState(message.state),
        serves=message.serves,
        error=message.error,
        qber=message.qber if message.HasField("qber") else None,
        stored_key_count=message.stored_key_count if message.HasField("stored_key_count") else None,
        prefetched_key_count=message.prefetched_key_count,
    )


def link_alarm(message: qkd_pb2.LinkAlarm, node_id: str) -> t.LinkAlarm:
    """An alarm of a link of `node_id`, or a step of one."""
    return t.LinkAlarm(
        peer_node_id=message.peer_node_id,
        kind=t.LinkAlarmKind(message.kind),
        severity=t.AlarmSeverity(message.severity),
        raise_time=time(message.raise_time),
        change_time=time(message.change_time),
        cause=message.cause,
        node_id=node_id,
        kme_id=message.kme_id,
    )


def link_sample(message: qkd_pb2.LinkSample) -> t.LinkSample:
    """One look at a link."""
    return t.LinkSample(
        time=time(message.time),
        error_code=message.error_code,
        qber=message.qber if message.HasField("qber") else None,
        skr=message.skr if message.HasField("skr") else None,
        stored_key_count=message.stored_key_count if message.HasField("stored_key_count") else None,
        max_key_count=message.max_key_count if message.HasField("max_key_count") else None,
    )


def node_status(message: cluster_pb2.NodeStatus, head: t.Header) -> t.NodeStatus:
    """A node's status."""
    return t.NodeStatus(
        node_id=message.node_id,
        cluster_id=message.cluster_id,
        role=t.Role(message.role),
        term=message.term,
        commit_index=message.commit_index,
        applied_index=message.applied_index,
        revision=message.revision,
        state_digest=message.state_digest,
        root=_root(message.root) if message.HasField("root") else None,
        open_epochs=tuple(message.open_epochs),
        seeding=message.seeding,
        members=tuple(member(m) for m in message.members),
        key_count=message.key_count,
        version=message.version,
        start_time=time(message.start_time),
        seal=seal_status(message.seal) if message.HasField("seal") else None,
        epoch_uses=tuple(
            t.EpochUse(
                u.epoch,
                t.EpochState(u.state),
                t.Grade(u.grade),
                u.version_count,
                u.session_count,
                u.recoverable,
                u.sae_key_count,
                tuple(u.relays),
                u.qber,
            )
            for u in message.epoch_uses
        ),
        recovery_set_id=message.recovery_set_id,
        certificate_expire_time=time(message.certificate_expire_time),
        warnings=tuple(message.warnings),
        enrol_address=message.enrol_address,
        audit=message.audit,
        header=head,
    )


def seal_status(message: cluster_pb2.SealStatus) -> t.SealStatus:
    """How a node is sealed."""
    return t.SealStatus(message.mode, message.sealed, message.reason, message.needs_secret, message.stored)


def member(message: cluster_pb2.Member) -> t.Member:
    """A member as the answering node sees it."""
    return t.Member(
        id=message.id,
        rpc_address=message.rpc_address,
        connected=message.connected,
        raft_address=message.raft_address,
        sae_id=message.sae_id,
        role=t.MemberRole(message.role),
        acting_role=t.MemberRole(message.acting_role),
        joined=message.joined,
        holds_root=message.holds_root,
        added_by=message.added_by,
        add_time=time(message.add_time),
        behind=message.behind if message.HasField("behind") else None,
        trouble=message.trouble,
        qkd_sealed=message.qkd_sealed if message.HasField("qkd_sealed") else None,
    )


def _root(message: cluster_pb2.RootEpoch) -> t.RootEpoch:
    return t.RootEpoch(
        epoch=message.epoch,
        state=t.EpochState(message.state),
        grade=t.Grade(message.grade),
        qkd_key_ids=tuple(message.qkd_key_ids),
        confirmed_by=tuple(message.confirmed_by),
        stage_time=time(message.stage_time),
        activate_time=time(message.activate_time),
        reason=message.reason,
        fallback=message.fallback,
        relays=tuple(message.relays),
        qber=message.qber,
    )


def time(message: Timestamp) -> datetime | None:
    """None for a timestamp that is absent: no event of a cluster happened in 1970. Raises AnswerNotUnderstood."""
    if not message.seconds and not message.nanos:
        return None
    try:
        return datetime.fromtimestamp(message.seconds, UTC) + timedelta(microseconds=message.nanos // 1000)
    except (ValueError, OverflowError, OSError):
        raise AnswerNotUnderstood(f"the answer has a time that no calendar has: {message.seconds} s") from None


def length(message: Duration) -> timedelta:
    """A length of time. Raises AnswerNotUnderstood."""
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError):
        raise AnswerNotUnderstood(f"the answer has a length of time out of bounds: {message.seconds} s") from None


def _algorithm(number: int) -> str:
    known = key_pb2.KeyAlgorithm.DESCRIPTOR.values_by_number.get(number)
    return known.name if known is not None else f"UNKNOWN_{number}"
