"""Policies, roles, tenants, grants and the audit through both clients and the command line, at a real node."""

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
import tomli_w
from click.testing import CliRunner, Result
from tests.unit.qkms_client.conftest import Sdk

from qkms_client import AuditChain, Grade, RateLimit, Rule, audit_export
from qkms_client import errors as e
from qkms_client.cli.main import main
from qkms_client.testing import MemoryServer
from qkms_node import config_sections

OPERATOR = "spiffe://qkms.dev/service/operator"
PAYMENTS = "spiffe://qkms.dev/service/payments"
REPORT = "spiffe://qkms.dev/service/report"


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    operator = config_sections.Rule(principals=(OPERATOR,), actions=("*",))
    # The node logs in this process, where the output of commands is captured.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with MemoryServer((operator,)) as running:
        yield running
    structlog.reset_defaults()


@pytest.fixture
async def operator(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("operator"), kind)
    yield made
    await made.close()


@pytest.fixture
async def payments(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("payments"), kind)
    yield made
    await made.close()


@pytest.fixture
async def report(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("report"), kind)
    yield made
    await made.close()


@pytest.fixture
def name() -> str:
    return f"n-{uuid4().hex[:12]}"


async def all_of(sdk: Sdk, method: str, *args: Any, **options: Any) -> list[Any]:
    found = getattr(sdk.client, method)(*args, **options)
    return [each async for each in found] if hasattr(found, "__aiter__") else list(found)


async def test_a_policy_takes_effect_with_its_role_and_ends_with_it(
    operator: Sdk, payments: Sdk, name: str
) -> None:
    await operator("create_key", name)
    with pytest.raises(e.PermissionDenied):
        await payments("encrypt", name, b"x")
    rules = [
        Rule(
            ("crypto.*",), (name,), context_keys=("tenant",), grades=(Grade.PQC,), rate_limit=RateLimit(6000, 100)
        )
    ]
    made = await operator("create_policy", name, rules, description="for payments")
    assert made.rules == tuple(rules)
    assert (await operator("get_policy", name)) == made
    role = await operator("create_role", name, principals=[PAYMENTS], policies=[name])
    assert (role.principals, role.policies) == ((PAYMENTS,), (made.name,))
    with pytest.raises(e.PermissionDenied):
        await payments("encrypt", name, b"x")
    sealed = await payments("encrypt", name, b"x", context={"tenant": "a"})
    assert (await payments("decrypt", name, sealed, context={"tenant": "a"})).plaintext == b"x"
    with pytest.raises(e.PolicyInUse):
        await operator("delete_policy", name)
    updated = await operator("update_policy", made, [Rule(("crypto.*",), (name,), allow=False)], etag=made.etag)
    with pytest.raises(e.PermissionDenied):
        await payments("encrypt", name, b"x", context={"tenant": "a"})
    with pytest.raises(e.EtagMismatch):
        await operator("update_policy", made, rules, etag=made.etag)
    assert updated.etag != made.etag
    assert name in [p.policy_id for p in await all_of(operator, "list_policies", page_size=1)]
    assert name in [r.role_id for r in await all_of(operator, "list_roles")]
    assert await operator("delete_role", role, etag=role.etag) is False
    identifier = uuid4()
    assert await operator("delete_policy", name, request_id=identifier) is False
    assert await operator("delete_policy", name, request_id=identifier) is True
    for method in ("get_policy", "get_role"):
        with pytest.raises((e.PolicyNotFound, e.RoleNotFound)):
            await operator(method, name)


async def test_who_may_not_manage_access_may_not(payments: Sdk, name: str) -> None:
    for method, arguments in (
        ("create_policy", {"rules": [Rule(("*",))]}),
        ("create_role", {"principals": ["*"], "policies": ["p"]}),
        ("create_tenant", {}),
        ("get_policy", {}),
        ("get_role", {}),
        ("get_tenant", {}),
    ):
        with pytest.raises(e.PermissionDenied):
            await payments(method, name, **arguments)
    with pytest.raises(e.PermissionDenied):
        await payments("explain_policy", PAYMENTS, "keys.get")
    with pytest.raises(e.PermissionDenied):
        await payments("verify_audit")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Rule(()), "rules[0].actions"),
        (Rule(("crypto encrypt",)), "rules[0].actions"),
        (Rule(("*",), allow=False, context_keys=("tenant",)), "rules[0].effect"),
        (Rule(("*",), rate_limit=RateLimit(0, 1)), "rules[0].rate_limit"),
        (Rule(("*",), grades=(Grade.UNSPECIFIED,)), "rules[0].grades"),
        (Rule(("*",), ("x" * 300,)), "rules[0].keys"),
    ],
)
async def test_a_bad_rule_is_named(operator: Sdk, name: str, rule: Rule, field: str) -> None:
    with pytest.raises(e.InvalidField) as caught:
        await operator("create_policy", name, [rule])
    assert caught.value.fields[0].field == field
    with pytest.raises(e.PolicyNotFound):
        await operator("get_policy", name)


async def test_a_rate_limit_is_a_refusal_that_passes(operator: Sdk, payments: Sdk, name: str) -> None:
    await operator("create_policy", name, [Rule(("crypto.random",), rate_limit=RateLimit(120, 2))])
    await operator("create_role", name, principals=[PAYMENTS], policies=[name])
    for _ in range(2):
        await payments("random_bytes", 1)
    with pytest.raises(e.RateLimited) as caught:
        await payments("random_bytes", 1, timeout=0.05)
    assert caught.value.retry_after == pytest.approx(0.5, abs=0.3)
    assert len(await payments("random_bytes", 1)) == 1, "the client waits for it by itself"
    await operator("delete_role", name)


async def test_a_tenants_quota_and_what_it_has(operator: Sdk, name: str) -> None:
    made = await operator("create_tenant", name, max_keys=1, principals=["nobody"])
    await operator("create_key", f"{name}.a")
    with pytest.raises(e.QuotaExceeded) as caught:
        await operator("create_key", f"{name}.b")
    assert caught.value.metadata == {"tenant": name, "quota": "keys", "limit": "1"}
    seen = await operator("get_tenant", made)
    assert (seen.keys, seen.versions, seen.sessions, seen.max_keys) == (1, 1, 0, 1)
    grown = await operator("update_tenant", name, max_keys=2, etag=made.etag)
    assert grown.principals == ()
    await operator("create_key", f"{name}.b")
    assert name in [t.tenant_id for t in await all_of(operator, "list_tenants")]
    await operator("delete_tenant", name)
    with pytest.raises(e.TenantNotFound):
        await operator("get_tenant", name)
    with pytest.raises(e.InvalidField, match="dot"):
        await operator("create_tenant", f"{name}.x")


async def test_a_grant_lends_what_its_grantor_has(operator: Sdk, payments: Sdk, report: Sdk, name: str) -> None:
    await operator("create_key", name)
    rules = [Rule(("crypto.*", "grants.create"), (name,))]
    await operator("create_policy", name, rules)
    await operator("create_role", name, principals=[PAYMENTS], policies=[name])
    sealed = await payments("encrypt", name, b"x")
    grant = await payments(
        "create_grant", REPORT, actions=["crypto.decrypt"], keys=[name], ttl=timedelta(minutes=5)
    )
    assert (await report("decrypt", name, sealed)).plaintext == b"x"
    with pytest.raises(e.PermissionDenied):
        await report("encrypt", name, b"x")
    with pytest.raises(e.PermissionDenied, match="cannot lend"):
        await payments("create_grant", REPORT, actions=["keys.get"], keys=[name], ttl=timedelta(minutes=5))
    with pytest.raises(e.PermissionDenied):
        await report("create_grant", PAYMENTS, actions=["crypto.decrypt"], keys=[name], ttl=timedelta(minutes=5))
    assert grant.name in [g.name for g in await all_of(report, "list_grants")]
    assert grant.name in [g.name for g in await all_of(operator, "list_grants", page_size=1)]
    await operator("delete_role", name)
    with pytest.raises(e.PermissionDenied):
        await report("decrypt", name, sealed)
    await operator("create_role", name, principals=[PAYMENTS], policies=[name])
    assert (await report("decrypt", name, sealed)).plaintext == b"x"
    await payments("revoke_grant", grant)
    with pytest.raises(e.PermissionDenied):
        await report("decrypt", name, sealed)
    with pytest.raises(e.GrantNotFound):
        await operator("revoke_grant", grant)
    await operator("delete_role", name)


async def test_explain_names_the_rule_and_why_others_do_not_match(operator: Sdk, name: str) -> None:
    await operator("create_key", name)
    await operator("create_policy", name, [Rule(("crypto.*",), (name,), context_keys=("tenant",))])
    await operator("create_role", name, principals=[REPORT], policies=[name])
    asked = ("explain_policy", REPORT, "crypto.encrypt", name)
    no = await operator(*asked)
    assert (no.allowed, no.rule) == (False, "")
    rule = f"roles/{name}/policies/{name}/rules/0"
    assert [c.mismatch for c in no.considered if c.rule == rule] == ["needs tenant in the encryption context"]
    yes = await operator(*asked, context_keys=["tenant"])
    assert (yes.allowed, yes.rule) == (True, rule)
    await operator("delete_role", name)


async def test_the_audit_through_the_client(operator: Sdk, server: MemoryServer, name: str) -> None:
    made = await operator("create_key", name)
    mutations = await all_of(operator, "query_audit", AuditChain.MUTATIONS, resource=f"keys/{name}")
    assert [(m.method, m.principal, m.revision) for m in mutations] == [("create_key", OPERATOR, made.revision)]
    node = operator.client.endpoints[0]
    anchor = await operator("anchor_audit", node)
    anchors, keys = await operator("list_anchors", node)
    assert anchor in anchors
    heads = await operator("audit_heads")
    assert heads.calls.key_id in [key.key_id for key in keys]
    assert [v.intact for v in await operator("verify_audit", node)] == [True, True]


class Line:
    """The command line as the operator."""

    def __init__(self, server: MemoryServer, folder: Path) -> None:
        profile = server.profile("operator")
        self._profile = folder / "profile.toml"
        files = {"ca": profile.ca, "certificate": profile.certificate, "private_key": profile.private_key}
        table = {"endpoints": dict(profile.endpoints), **{name: str(path) for name, path in files.items()}}
        self._profile.write_text(tomli_w.dumps(table))

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"QKMS_PROFILE": str(self._profile)})


def test_the_command_line_manages_access(server: MemoryServer, tmp_path: Path, name: str) -> None:
    qkms = Line(server, tmp_path)
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rules]]\nactions = ["crypto.*"]\nkeys = ["pay.*"]\ngrades = ["qkd+pqc"]\nper_minute = 60\nburst = 5\n'
        '[[rules]]\neffect = "deny"\nactions = ["crypto.derive"]\n'
    )
    assert qkms("policy", "create", name, "--file", str(rules)).exit_code == 0
    shown = json.loads(qkms("policy", "get", name, "--json").output)
    assert [(r["allow"], r["keys"]) for r in shown["rules"]] == [(True, ["pay.*"]), (False, ["*"])]
    assert qkms("policy", "update", name, "--allow", "crypto.*", "--etag", '"1"').exit_code == 3
    assert qkms("policy", "update", name, "--allow", "crypto.*", "--key", name).exit_code == 0
    assert qkms("role", "create", name, "--principal", REPORT, "--policy", name).exit_code == 0
    assert REPORT in qkms("role", "list").output
    told = qkms("policy", "explain", REPORT, "crypto.encrypt", name)
    assert (told.exit_code, told.output.splitlines()[0]) == (
        0,
        f"allowed: a rule allows it (roles/{name}/policies/{name}/rules/0)",
    )
    assert qkms("policy", "explain", REPORT, "keys.destroy", name).exit_code == 3
    assert qkms("policy", "delete", name).exit_code == 3
    assert qkms("role", "update", name, "--principal", PAYMENTS, "--policy", name).exit_code == 0
    assert qkms("role", "get", name).exit_code == 0
    assert qkms("role", "delete", name).exit_code == 0
    assert qkms("policy", "delete", name).exit_code == 0
    assert qkms("tenant", "create", name, "--max-keys", "3").exit_code == 0
    assert "0 of 3" in qkms("tenant", "list").output
    assert qkms("tenant", "update", name, "--max-keys", "4").exit_code == 0
    assert qkms("tenant", "get", name, "--json").exit_code == 0
    assert qkms("tenant", "delete", name).exit_code == 0
    lent = qkms("grant", "create", REPORT, "--action", "keys.get", "--key", name, "--ttl", "60", "--json")
    grant = json.loads(lent.output)["name"]
    assert grant.removeprefix("grants/") in qkms("grant", "list").output
    assert qkms("grant", "revoke", grant).exit_code == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"\[\[rules\]\]"),
        ('[[rules]]\nactoins = ["*"]', "no field actoins"),
        ('[[rules]]\nactions = "x"', "list of texts"),
        ('[[rules]]\nactions = ["*"]\neffect = "maybe"', "neither allow nor deny"),
        ('[[rules]]\nactions = ["*"]\ngrades = ["best"]', "'best' is none of"),
        ('[[rules]]\nactions = ["*"]\nper_minute = 5', "PER_MINUTE:BURST"),
        ("rules = ", "cannot be read"),
    ],
)
def test_a_file_of_rules_that_is_wrong_is_a_usage_error(
    server: MemoryServer, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "rules.toml").write_text(text)
    result = Line(server, tmp_path)("policy", "create", "x", "--file", str(tmp_path / "rules.toml"))
    assert result.exit_code == 2
    assert re.search(problem, result.output)


def test_an_export_verifies_without_a_node_and_names_what_was_changed(
    server: MemoryServer, tmp_path: Path, name: str
) -> None:
    qkms = Line(server, tmp_path)
    assert qkms("keys", "create", name).exit_code == 0
    assert qkms("audit", "anchor", "memory-1").exit_code == 0
    assert qkms("audit", "verify").exit_code == 0
    head = json.loads(qkms("audit", "head", "--json").output)[0]
    folder = tmp_path / "export"
    assert qkms("audit", "export", str(folder)).exit_code == 0
    assert qkms("audit", "export", str(folder)).exit_code == 2
    key = head["calls"]["key_id"]
    assert qkms("audit", "verify", str(folder), "--trust", key).exit_code == 0
    assert qkms("audit", "verify", str(folder), "--trust", "0" * 32).exit_code == 6

    for file, chain in (("calls-memory-1.jsonl", "calls of memory-1"), ("mutations.jsonl", "mutations")):
        path = folder / file
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], lines[1].replace(b"principal", b"princepal"), *lines[2:]]))
        result = qkms("audit", "verify", str(folder), "--json")
        verdicts = {v["chain"]: v for v in json.loads(result.stdout)}
        assert (result.exit_code, verdicts[chain]["broken_record"]) == (6, 2)
        path.write_bytes(b"".join(lines[:3]))
        assert not {v.chain: v for v in audit_export.check(folder)}[chain].intact, "the end was cut off"
        path.write_bytes(whole)
    assert all(v.intact for v in audit_export.check(folder))
    (folder / "anchors.json").write_text("{}")
    assert qkms("audit", "verify", str(folder)).exit_code == 2
    found = qkms("audit", "query", "mutations", "--resource", f"keys/{name}", "--json")
    assert json.loads(found.output)["method"] == "create_key"
    assert "PRINCIPAL" in qkms("audit", "query", "calls", "--start", "2026-01-01", "--limit", "3").output
    assert qkms("audit", "query", "calls", "--start", "yesterday").exit_code == 2


def test_a_tampered_line_is_told_by_query_export_and_verify(
    server: MemoryServer, tmp_path: Path, name: str
) -> None:
    qkms = Line(server, tmp_path)
    assert qkms("keys", "create", name).exit_code == 0
    path = next((server.profile("operator").ca.parent.parent / "data" / "audit").glob("calls-*.jsonl"))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    try:
        path.write_bytes(
            b"".join([lines[0], lines[1].replace(b'"time_ms":', b'"time_ms":1e999,"was":'), *lines[2:]])
        )
        # Asked for this one key, and for a time to come: what is damaged might be it.
        asked = ("audit", "query", "calls", "--resource", f"keys/{name}", "--start", "2099-01-01")
        for command in (asked, ("audit", "export", str(tmp_path / "export")), ("audit", "verify")):
            told = qkms(*command)
            assert told.exit_code == 6, told.output
            assert f"{path.name}, line 2" in told.output
            assert "what to do: " in told.output
        exported = (tmp_path / "export" / "calls-memory-1.jsonl").read_bytes().splitlines(keepends=True)
        assert len(exported) >= len(lines), "the others are there"
        told = qkms("audit", "verify", str(tmp_path / "export"))
        assert (told.exit_code, "calls-memory-1.jsonl, line 2" in told.output) == (6, True)
    finally:
        # The node has written on, behind the tampered line and to the same file.
        path.write_bytes(whole + b"".join(path.read_bytes().splitlines(keepends=True)[len(lines) :]))
    assert qkms("audit", "verify").exit_code == 0


@pytest.mark.parametrize("start", [10**9, 10**30])
def test_an_export_that_begins_after_its_anchors_is_broken(
    server: MemoryServer, tmp_path: Path, name: str, start: int
) -> None:
    qkms = Line(server, tmp_path)
    assert qkms("keys", "create", name).exit_code == 0
    assert qkms("audit", "anchor", "memory-1").exit_code == 0
    assert qkms("audit", "export", str(tmp_path / "export")).exit_code == 0
    for file, chain in (("calls-memory-1.jsonl", "calls of memory-1"), ("mutations.jsonl", "mutations")):
        path = tmp_path / "export" / file
        whole = path.read_bytes()
        last = whole.splitlines()[-1]
        forged = b'{"n":' + str(start).encode() + last[last.index(b",") :]
        path.write_bytes(forged + b"\n")
        assert not {v.chain: v for v in audit_export.check(tmp_path / "export")}[chain].intact
        path.write_bytes(whole)
