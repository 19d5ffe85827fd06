"""Ledger records as protocol messages; nothing is decided here."""

from google.protobuf.timestamp_pb2 import Timestamp

from qkms.v1 import cluster_pb2, key_pb2, session_pb2
from qkms_node.ledger.records import (
    EventRecord,
    KeyRecord,
    RootRecord,
    SessionRecord,
    StagingRecord,
    VersionRecord,
    WrappingRecord,
)
from qkms_node.service.cluster import EpochUse
from qkms_node.service.watching import OF_LINKS


def timestamp(time_ms: int) -> Timestamp | None:
    """A timestamp, absent for 0."""
    if not time_ms:
        return None
    stamp = Timestamp()
    stamp.FromMilliseconds(time_ms)
    return stamp


def key(record: KeyRecord) -> key_pb2.Key:
    """A key as clients see it."""
    message = key_pb2.Key(
        name=f"keys/{record.key_id}",
        algorithm=key_pb2.KeyAlgorithm.Value(record.algorithm),
        primary_version=record.primary,
        version_count=record.version_count,
        create_time=timestamp(record.create_ms),
        required_grade=record.required_grade,  # type: ignore[arg-type]
        labels=record.labels,
        etag=f'"{record.revision}"',
        revision=record.revision,
        state=_key_state(record),
        staged_version=record.staged,
        next_rotation_time=timestamp(record.next_rotation_ms),
        min_decrypt_version=record.min_decrypt,
        min_encrypt_version=record.min_encrypt,
        deletion_protection=record.deletion_protection,
        exportable=record.exportable,
        allow_compromised_decrypt=record.allow_compromised_decrypt,
        delete_time=timestamp(record.delete_ms),
        prefer_qkd=record.prefer_qkd,
        refuse_relays=record.refuse_relays,
        max_qber=record.max_qber,
    )
    message.max_staleness.FromMilliseconds(record.max_staleness_ms)
    if record.rotation_period_ms:
        message.rotation_period.FromMilliseconds(record.rotation_period_ms)
    return message


def _key_state(record: KeyRecord) -> key_pb2.KeyState.ValueType:
    if record.delete_ms:
        return key_pb2.KEY_STATE_DELETED
    return key_pb2.KEY_STATE_DISABLED if record.disabled else key_pb2.KEY_STATE_ENABLED


def version(key_id: str, record: VersionRecord, qkd_key_ids: tuple[str, ...]) -> key_pb2.KeyVersion:
    """A key version as clients see it: metadata and provenance."""
    return key_pb2.KeyVersion(
        name=f"keys/{key_id}/versions/{record.version}",
        version=record.version,
        state=int(record.state),  # type: ignore[arg-type]
        grade=int(record.grade),  # type: ignore[arg-type]
        root_epoch=record.epoch,
        create_time=timestamp(record.create_ms),
        activate_time=timestamp(record.activate_ms),
        destroy_time=timestamp(record.destroy_ms),
        qkd_key_ids=qkd_key_ids,
        staging=_staging(record.staging) if record.staging is not None else None,
        compromise_time=timestamp(record.compromise_ms),
        reason=record.reason,
        relayed=record.relayed,
        qber=record.qber,
    )


def _staging(record: StagingRecord) -> key_pb2.Staging:
    return key_pb2.Staging(
        revision=record.revision,
        stage_time=timestamp(record.stage_ms),
        activate_after_time=timestamp(record.activate_after_ms),
        voters=record.voters,
        confirmed=record.confirmed,
        validate_time=timestamp(record.validate_ms),
        rejected=record.rejected,
    )


def import_parameters(record: WrappingRecord) -> key_pb2.ImportParameters:
    """The public side of an import."""
    return key_pb2.ImportParameters(
        name=f"keys/{record.key_id}/imports/{record.import_id}",
        method=record.method,  # type: ignore[arg-type]
        public_key=record.public,
        expire_time=timestamp(record.expire_ms),
    )


def event(record: EventRecord) -> key_pb2.KeyEvent:
    """An event of a watch."""
    return key_pb2.KeyEvent(
        revision=record.revision,
        type=int(record.type),  # type: ignore[arg-type]
        name=record.name,
        version=record.version,
        state=record.state if record.version else 0,  # type: ignore[arg-type]
        time=timestamp(record.time_ms),
        severity=record.state if record.type in OF_LINKS else 0,  # type: ignore[arg-type]
    )


def session(record: SessionRecord) -> session_pb2.Session:
    """A session's public state."""
    message = session_pb2.Session(
        name=f"sessions/{record.session_id}",
        state=int(record.state),  # type: ignore[arg-type]
        suite=record.suite,  # type: ignore[arg-type]
        initiator=record.initiator,
        responder=record.responder,
        grade=int(record.grade),  # type: ignore[arg-type]
        root_epoch=record.epoch,
        qkd_key_ids=record.qkd_key_ids,
        offer=session_pb2.SessionOffer(
            mlkem_public_key=record.offer.mlkem_public,
            x25519_public_key=record.offer.x25519_public,
            nonce=record.offer.nonce,
        ),
        initiator_tag=record.initiator_tag,
        responder_tag=record.responder_tag,
        create_time=timestamp(record.create_ms),
        expire_time=timestamp(record.expire_ms),
    )
    if record.answer is not None:
        message.answer.mlkem_ciphertext = record.answer.mlkem_ciphertext
        message.answer.x25519_public_key = record.answer.x25519_public
        message.answer.nonce = record.answer.nonce
    return message


def root(record: RootRecord) -> cluster_pb2.RootEpoch:
    """A root epoch: ids and who confirmed it."""
    return cluster_pb2.RootEpoch(
        epoch=record.epoch,
        state=int(record.state),  # type: ignore[arg-type]
        grade=int(record.grade),  # type: ignore[arg-type]
        qkd_key_ids=record.qkd_key_ids,
        confirmed_by=record.confirmed,
        stage_time=timestamp(record.stage_ms),
        activate_time=timestamp(record.activate_ms),
        reason=record.reason or "; ".join(f"{n}: {why}" for n, why in sorted(record.rejected.items())),
        fallback=record.fallback,
        relays=record.relays,
        qber=record.qber,
    )


def epoch_use(use: EpochUse) -> cluster_pb2.EpochUse:
    """What is under an epoch."""
    return cluster_pb2.EpochUse(
        epoch=use.root.epoch,
        state=int(use.root.state),  # type: ignore[arg-type]
        grade=int(use.root.grade),  # type: ignore[arg-type]
        version_count=use.version_count,
        session_count=use.session_count,
        sae_key_count=use.sae_key_count,
        recoverable=use.recoverable,
        relays=use.root.relays,
        qber=use.root.qber,
    )
