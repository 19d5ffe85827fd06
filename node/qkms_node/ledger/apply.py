"""Applying one command: time, deduplication, dispatch.

The order is the promise: (1) the leader's time advances and what is due
happens; (2) a repeated request is answered from memory before any
precondition is looked at; (3) the rule runs; (4) an effective outcome is
remembered with the same entry that had the effect, so that no crash can
separate the two. Refusals are not remembered: they changed nothing, and the
same request may succeed later.
"""

from typing import assert_never

from msgspec.structs import replace

from qkms_node.ledger import (
    access_rules,
    audit_rules,
    join_rules,
    key_rules,
    link_rules,
    member_rules,
    quota_rules,
    recovery_rules,
    restore_rules,
    rewrap_rules,
    root_rules,
    sae_rules,
    session_rules,
    staging_rules,
    version_rules,
)
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import RequestRecord
from qkms_node.ledger.state import REQUEST_MEMORY_MS, Refusal, State


def apply(state: State, command: c.AnyCommand, time_ms: int) -> c.Outcome:
    """Applies `command` as of the leader's `time_ms`; never raises for a refusal."""
    advance(state, time_ms)
    try:
        if isinstance(command, c.Mutation):
            remembered = _replay(state, command.request)
            if remembered is not None:
                return remembered
        quota_rules.check_quota(state, command)
        outcome = _dispatch(state, command)
    except Refusal as refusal:
        return c.Outcome(state.revision, code=refusal.code, message=refusal.message, metadata=refusal.metadata)
    if outcome.changed:
        audit_rules.record_effect(state, command)
        audit_rules.record_root_change(state)
        state.revision += 1
    if isinstance(command, c.Mutation):
        # A repetition that found nothing to change is remembered too: arriving once more
        # after the opposite command, it must not take effect then.
        state.requests[command.request.request_id] = RequestRecord(
            state.time_ms, command.request.fingerprint, c.encode_outcome(outcome)
        )
    return outcome


def advance(state: State, time_ms: int) -> None:
    """Moves the ledger's time forward, never back, and does what has come due."""
    state.time_ms = max(state.time_ms, time_ms)
    while (due := state.take_due()) is not None:
        due_ms, kind, name, number = due
        if _do_due(state, kind, name, number, due_ms):
            audit_rules.record_due(state, kind, name, number)
            state.revision += 1
    horizon = state.time_ms - REQUEST_MEMORY_MS
    while state.requests:
        oldest = next(iter(state.requests))
        if state.requests[oldest].time_ms >= horizon:
            break
        del state.requests[oldest]


def _do_due(state: State, kind: str, name: str, number: int, due_ms: int) -> bool:
    match kind:
        case version_rules.DESTROY:
            return version_rules.erase_due(state, name, number, due_ms)
        case key_rules.ROTATE:
            return key_rules.rotation_falls_due(state, name, due_ms)
        case staging_rules.EXPIRE_IMPORT:
            return staging_rules.expire_import(state, name, due_ms)
        case session_rules.EXPIRE:
            return session_rules.expire_due(state, name)
        case session_rules.FORGET:
            return session_rules.forget_due(state, name)
        case sae_rules.EXPIRE:
            return sae_rules.expire_due(state, name)
        case sae_rules.FORGET:
            return sae_rules.forget_due(state, name)
        case join_rules.FORGET:
            return join_rules.forget_due(state, name, due_ms)
        case access_rules.EXPIRE_GRANT:
            return access_rules.expire_grant_due(state, name, due_ms)
        case _:
            raise c.UnknownCommand(f"scheduled {kind} of {name}; upgrade this node")


def _replay(state: State, request: c.Request) -> c.Outcome | None:
    known = state.requests.get(request.request_id)
    if known is None:
        return None
    if known.fingerprint != request.fingerprint:
        raise Refusal(
            "REQUEST_ID_REUSED",
            f"request_id {request.request_id} was used for another request; make a new one",
            request_id=request.request_id,
        )
    try:
        return replace(c.decode_outcome(known.outcome), replayed=True)
    except c.UnknownCommand:
        # It came with a backup or a snapshot: it must not bring every node down that meets it.
        raise Refusal(
            "OUTCOME_UNKNOWN",
            f"request_id {request.request_id} was answered before, and the answer that was kept cannot be read; "
            "look at what the request was about",
        ) from None


def _dispatch(state: State, command: c.AnyCommand) -> c.Outcome:
    match command:
        case c.CreateKey():
            return key_rules.create_key(state, command)
        case c.RotateKey():
            return key_rules.rotate_key(state, command)
        case c.DisableVersion():
            return version_rules.disable_version(state, command)
        case c.EnableVersion():
            return version_rules.enable_version(state, command)
        case c.DestroyVersion():
            return version_rules.destroy_version(state, command)
        case c.RestoreVersion():
            return version_rules.restore_version(state, command)
        case c.CompromiseVersion():
            return version_rules.compromise_version(state, command)
        case c.UpdateKey():
            return key_rules.update_key(state, command)
        case c.DisableKey():
            return key_rules.disable_key(state, command)
        case c.EnableKey():
            return key_rules.enable_key(state, command)
        case c.DeleteKey():
            return key_rules.delete_key(state, command)
        case c.StageVersion():
            return staging_rules.stage_version(state, command)
        case c.OpenImport():
            return staging_rules.open_import(state, command)
        case c.ImportVersion():
            return staging_rules.import_version(state, command)
        case c.ValidateVersion():
            return staging_rules.validate_version(state, command)
        case c.ActivateVersion():
            return staging_rules.activate_version(state, command)
        case c.AbortVersion():
            return staging_rules.abort_version(state, command)
        case c.ConfirmVersion():
            return staging_rules.confirm_version(state, command)
        case c.RejectVersion():
            return staging_rules.reject_version(state, command)
        case c.RequestRoot():
            return root_rules.request_root(state, command)
        case c.OpenSession():
            return session_rules.open_session(state, command)
        case c.AnswerSession():
            return session_rules.answer_session(state, command)
        case c.ConfirmSession():
            return session_rules.confirm_session(state, command)
        case c.CloseSession():
            return session_rules.close_session(state, command)
        case c.DrawSaeKeys():
            return sae_rules.draw_sae_keys(state, command)
        case c.CollectSaeKeys():
            return sae_rules.collect_sae_keys(state, command)
        case c.CreatePolicy():
            return access_rules.create_policy(state, command)
        case c.UpdatePolicy():
            return access_rules.update_policy(state, command)
        case c.DeletePolicy():
            return access_rules.delete_policy(state, command)
        case c.CreateRole():
            return access_rules.create_role(state, command)
        case c.UpdateRole():
            return access_rules.update_role(state, command)
        case c.DeleteRole():
            return access_rules.delete_role(state, command)
        case c.CreateTenant():
            return access_rules.create_tenant(state, command)
        case c.UpdateTenant():
            return access_rules.update_tenant(state, command)
        case c.DeleteTenant():
            return access_rules.delete_tenant(state, command)
        case c.CreateGrant():
            return access_rules.create_grant(state, command)
        case c.RevokeGrant():
            return access_rules.revoke_grant(state, command)
        case c.AnchorAudit():
            return audit_rules.anchor_audit(state, command)
        case c.RegisterAuditKey():
            return audit_rules.register_audit_key(state, command)
        case c.RegisterNode():
            return root_rules.register_node(state, command)
        case c.StageRoot():
            return root_rules.stage_root(state, command)
        case c.ConfirmRoot():
            return root_rules.confirm_root(state, command)
        case c.RejectShare():
            return root_rules.reject_share(state, command)
        case c.ReplaceShare():
            return root_rules.replace_share(state, command)
        case c.ActivateRoot():
            return root_rules.activate_root(state, command)
        case c.RefuseRoot():
            return root_rules.refuse_root(state, command)
        case c.AbortRoot():
            return root_rules.abort_root(state, command)
        case c.RewrapVersions():
            return rewrap_rules.rewrap_versions(state, command)
        case c.DestroyRoot():
            return rewrap_rules.destroy_root(state, command)
        case c.SetRecovery():
            return recovery_rules.set_recovery(state, command)
        case c.SealToRecovery():
            return recovery_rules.seal_to_recovery(state, command)
        case c.RestorePart():
            return restore_rules.restore_part(state, command)
        case c.FinishRestore():
            return restore_rules.finish_restore(state, command)
        case c.AddMember():
            return member_rules.add_member(state, command)
        case c.PromoteMember():
            return member_rules.promote_member(state, command)
        case c.RemoveMember():
            return member_rules.remove_member(state, command)
        case c.TransferLeadership():
            return member_rules.transfer_leadership(state, command)
        case c.RedeemToken():
            return join_rules.redeem_token(state, command)
        case c.FoundMembers():
            return member_rules.found_members(state, command)
        case c.SettleHandover():
            return member_rules.settle_handover(state, command)
        case c.ReportLinkAlarm():
            return link_rules.report_link_alarm(state, command)
        case c.AdvanceTime():
            return c.Outcome(state.revision)
        case _:
            assert_never(command)
