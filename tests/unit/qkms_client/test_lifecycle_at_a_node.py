"""The life of keys and versions, both clients against a real node in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from tests.unit.qkms_client.conftest import Sdk

from qkms.wrapping import Method, wrap
from qkms_client import AsyncClient, Grade, KeyState, VersionState, linearizable
from qkms_client import errors as e
from qkms_client.testing import MemoryServer
from qkms_node.config_sections import Rule

NOW = timedelta(0)
MATERIAL = bytes(range(32))


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture
async def kms(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("payments"), kind)
    yield made
    await made.close()


@pytest.fixture
def key() -> str:
    """A fresh key id."""
    return f"key-{uuid4().hex[:12]}"


async def listed(kms: Sdk, **options: Any) -> list[str]:
    """The ids that list_keys gives, page by page."""

    async def gathered() -> list[str]:
        return [k.key_id async for k in kms.client.list_keys(page_size=2, **options)]  # type: ignore[union-attr]

    if type(kms.client).__name__ == "AsyncClient":
        return await gathered()
    return await asyncio.to_thread(lambda: [k.key_id for k in kms.client.list_keys(page_size=2, **options)])  # type: ignore[union-attr]


async def test_the_way_of_a_staged_version(kms: Sdk, key: str) -> None:
    await kms("create_key", key, max_staleness=timedelta(seconds=0.3))
    staged = await kms("stage_version", key)
    assert (staged.version, staged.state, staged.activate_time) == (2, VersionState.PRE_ACTIVATION, None)
    assert (await kms("get_key", key)).staged_version == 2
    with pytest.raises(e.VersionNotValidated):
        await kms("activate_version", staged)
    validated = await kms("validate_version", staged)
    assert set(validated.staging.confirmed) == set(validated.staging.voters) == set(kms.client.endpoints)
    with pytest.raises(e.ActivationTooEarly) as early:
        await kms("activate_version", staged)
    assert (await kms("encrypt", key, b"x")).version == 1
    with pytest.raises(e.VersionStaged):
        await kms("derive_key", key, {"a": "b"}, version=2)
    await asyncio.sleep(early.value.retry_after or 0)
    done = await kms("activate_version", staged, expected_primary_version=1)
    assert (done.key.primary_version, done.already_active) == (2, False)
    assert (await kms("activate_version", staged)).already_active
    assert (await kms("encrypt", key, b"x")).version == 2


async def test_an_aborted_version_leaves_its_number_and_its_reason(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    staged = await kms("stage_version", key)
    gone = await kms("abort_version", staged, reason="a drill")
    assert (gone.state, gone.reason) == (VersionState.DESTROYED, "a drill")
    assert (await kms("rotate_key", key)).version.version == 3
    with pytest.raises(e.IllegalTransition):
        await kms("validate_version", staged)


async def test_the_primary_version_is_compared_before_it_is_swapped(kms: Sdk, key: str) -> None:
    await kms("create_key", key, max_staleness=NOW)
    staged = await kms("validate_version", await kms("stage_version", key))
    with pytest.raises(e.VersionConflict) as conflict:
        await kms("activate_version", staged, expected_primary_version=9)
    assert (conflict.value.expected, conflict.value.actual) == (9, 1)
    assert (await kms("activate_version", staged)).key.primary_version == 2


async def test_a_compromised_version_protects_no_more_and_decrypts_by_the_keys_policy(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = await kms("encrypt", key, b"data")
    marked = await kms("compromise_version", key, 1, reason="lost laptop")
    assert (marked.state, marked.reason) == (VersionState.COMPROMISED, "lost laptop")
    assert marked.compromise_time is not None
    with pytest.raises(e.VersionCompromised):
        await kms("encrypt", key, b"data")
    with pytest.raises(e.VersionCompromised):
        await kms("decrypt", key, sealed)
    await kms("update_key", key, allow_compromised_decrypt=True)
    assert (await kms("decrypt", key, sealed)).plaintext == b"data"
    assert (await kms("rotate_key", key)).version.version == 2
    assert (await kms("encrypt", key, b"data")).version == 2


async def test_an_update_sets_what_is_given_if_the_etag_matches(kms: Sdk, key: str) -> None:
    made = await kms("create_key", key, labels={"team": "a"})
    changed = await kms(
        "update_key",
        key,
        etag=made.etag,
        labels={"team": "b"},
        rotation_period=timedelta(days=90),
        max_staleness=timedelta(seconds=5),
        min_decrypt_version=1,
        min_encrypt_version=1,
        required_grade=Grade.PQC,
        deletion_protection=True,
        prefer_qkd=True,
        refuse_relays=True,
        max_qber=0.05,
    )
    assert (made.prefer_qkd, changed.prefer_qkd) == (False, True)
    assert (made.refuse_relays, changed.refuse_relays) == (False, True)
    assert (made.max_qber, changed.max_qber) == (0, 0.05)
    assert (changed.labels, changed.rotation_period) == ({"team": "b"}, timedelta(days=90))
    assert changed.next_rotation_time - made.create_time >= timedelta(days=90)
    assert (changed.max_staleness, changed.required_grade) == (timedelta(seconds=5), Grade.PQC)
    assert (changed.min_decrypt_version, changed.min_encrypt_version) == (1, 1)
    assert await kms("get_key", key) == changed
    with pytest.raises(e.EtagMismatch):
        await kms("update_key", key, etag=made.etag, labels={})
    with pytest.raises(ValueError, match="what is to change"):
        await kms("update_key", key)
    cleared = await kms("update_key", key, labels={}, rotation_period=NOW)
    assert (cleared.labels, cleared.rotation_period, cleared.next_rotation_time) == ({}, None, None)
    with pytest.raises(e.MinVersionTooHigh):
        await kms("update_key", key, min_decrypt_version=2)
    with pytest.raises(e.GradeTooLow):
        await kms("update_key", key, required_grade=Grade.QKD)
    with pytest.raises(e.InvalidField):
        await kms("update_key", key, required_grade=Grade.IMPORTED)


async def test_old_versions_below_the_least_are_not_used(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = await kms("encrypt", key, b"old")
    await kms("rotate_key", key)
    await kms("update_key", key, min_decrypt_version=2)
    with pytest.raises(e.VersionTooOld):
        await kms("decrypt", key, sealed)


async def test_a_disabled_key_is_not_used(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = await kms("encrypt", key, b"data")
    assert (await kms("disable_key", key)).state is KeyState.DISABLED
    for call in (kms("encrypt", key, b"x"), kms("decrypt", key, sealed), kms("rotate_key", key)):
        with pytest.raises(e.KeyDisabled):
            await call
    assert (await kms("enable_key", key)).state is KeyState.ENABLED
    assert (await kms("decrypt", key, sealed)).plaintext == b"data"


async def test_a_key_is_deleted_after_its_last_version_and_leaves_a_tombstone(kms: Sdk, key: str) -> None:
    await kms("create_key", key, deletion_protection=True)
    await kms("disable_version", key, 1)
    with pytest.raises(e.DeletionProtected):
        await kms("destroy_version", key, 1, grace=NOW)
    await kms("update_key", key, deletion_protection=False)
    with pytest.raises(e.KeyHasVersions):
        await kms("delete_key", key)
    await kms("destroy_version", key, 1, grace=NOW)
    tombstone = await kms("delete_key", key)
    assert (tombstone.state, tombstone.version_count) == (KeyState.DELETED, 1)
    assert tombstone.delete_time is not None
    with pytest.raises(e.KeyDeleted):
        await kms("get_key", key, consistency=linearizable())
    with pytest.raises(e.KeyExists):
        await kms("create_key", key)
    assert key not in await listed(kms)
    assert key in await listed(kms, state=KeyState.DELETED)


async def test_lists_are_filtered_page_by_page(kms: Sdk, key: str) -> None:
    names = [f"{key}-{letter}" for letter in "abcde"]
    for name in names:
        await kms("create_key", name, labels={"group": key, "last": name[-1]})
    await kms("disable_key", names[2])
    assert await listed(kms, prefix=f"{key}-") == names
    assert await listed(kms, labels={"group": key}) == names
    assert await listed(kms, labels={"group": key, "last": "d"}) == [names[3]]
    assert await listed(kms, prefix=f"{key}-", state=KeyState.DISABLED) == [names[2]]
    assert await listed(kms, prefix=f"{key}-", state=KeyState.ENABLED) == names[:2] + names[3:]
    assert await listed(kms, prefix=f"{key}-", algorithm="AES_256_GCM") == names
    with pytest.raises(ValueError, match="NOTHING"):
        await listed(kms, algorithm="NOTHING")
    await kms("rotate_key", names[0])
    await kms("rotate_key", names[0])
    found = await kms("list_versions", names[0], states=[VersionState.DEACTIVATED])
    assert [v.version for v in found] == [1, 2]


@pytest.mark.parametrize("method", list(Method), ids=lambda m: m.name)
async def test_material_comes_in_wrapped_and_becomes_a_first_version(kms: Sdk, key: str, method: Method) -> None:
    await kms("create_key", key, skip_initial_version=True, exportable=True)
    with pytest.raises(e.NoPrimaryVersion):
        await kms("encrypt", key, b"x")
    imported = await kms("import_version", key, MATERIAL, method)
    assert (imported.version, imported.grade) == (1, Grade.IMPORTED)
    await kms("validate_version", imported)
    assert (await kms("activate_version", imported)).key.primary_version == 1
    sealed = await kms("encrypt", key, b"data")
    assert (sealed.grade, (await kms("decrypt", key, sealed)).plaintext) == (Grade.IMPORTED, b"data")
    assert (await kms("export_version", key, 1)).material == MATERIAL


async def test_a_wrapping_key_serves_once_and_a_repeated_import_is_replayed(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    asked = uuid4()
    parameters = await kms("get_import_parameters", key, request_id=asked)
    assert await kms("get_import_parameters", key, request_id=asked) == parameters
    wrapped = wrap(Method.MLKEM768_AES_KWP, parameters.public_key, MATERIAL, parameters.name)
    brought = uuid4()
    first = await kms("import_wrapped", parameters, wrapped, request_id=brought)
    again = await kms("import_wrapped", parameters, wrapped, request_id=brought)
    assert (first.replayed, again.replayed, first) == (False, True, again)
    with pytest.raises(e.ImportNotFound):
        await kms("import_wrapped", parameters.name, wrapped)
    with pytest.raises(e.RotationPending):
        await kms("import_version", key, MATERIAL)


async def test_rsa_oaep_as_any_tool_makes_it_is_taken_in(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    parameters = await kms("get_import_parameters", key, Method.RSA_OAEP_SHA256)
    public = load_der_public_key(parameters.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 3072
    oaep = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)
    assert (await kms("import_wrapped", parameters, public.encrypt(MATERIAL, oaep))).version == 2


async def test_what_does_not_unwrap_or_does_not_fit_is_refused_and_changes_nothing(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    parameters = await kms("get_import_parameters", key)
    public = parameters.public_key
    good = wrap(Method.MLKEM768_AES_KWP, public, MATERIAL, parameters.name)
    for bad in (
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:100],
        wrap(Method.MLKEM768_AES_KWP, public, MATERIAL, "keys/other/imports/x"),
    ):
        with pytest.raises(e.WrappingRejected):
            await kms("import_wrapped", parameters, bad)
    short = wrap(Method.MLKEM768_AES_KWP, public, MATERIAL[:16], parameters.name)
    with pytest.raises(e.MaterialRejected, match="the key takes 32"):
        await kms("import_wrapped", parameters, short)
    assert (await kms("get_key", key)).staged_version == 0
    assert (await kms("import_wrapped", parameters, good)).version == 2, "the wrapping key still serves"


async def test_material_goes_out_only_wrapped_and_only_of_an_exportable_key(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    with pytest.raises(e.NotExportable):
        await kms("export_version", key, 1)
    open_key = f"{key}-x"
    await kms("create_key", open_key, exportable=True)
    private = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wrapped = await kms("export_wrapped", open_key, 1, method=Method.RSA_OAEP_SHA256, public_key=spki)
    oaep = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)
    assert private.decrypt(wrapped, oaep) == (await kms("export_version", open_key, 1)).material
    with pytest.raises(e.WrappingRejected):
        await kms("export_wrapped", open_key, 1, method=Method.RSA_OAEP_SHA256, public_key=b"no key")


async def test_a_rotation_by_period_happens_by_itself(kms: Sdk, key: str) -> None:
    made = await kms("create_key", key, rotation_period=timedelta(seconds=1))
    assert made.next_rotation_time == made.create_time + timedelta(seconds=1)
    for _ in range(200):
        if (await kms("get_key", key, consistency=linearizable())).primary_version > 1:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("not rotated within 20 s")
    await kms("update_key", key, rotation_period=NOW)


async def test_many_ciphertexts_are_rewrapped_in_their_order_until_one_fails(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = [(await kms("encrypt", key, b"%d" % n)).ciphertext for n in range(20)]
    await kms("rotate_key", key)
    given: list[bytes] = []

    async def rewrapped(ciphertexts: list[bytes]) -> None:
        given.clear()
        if isinstance(kms.client, AsyncClient):
            async for result in kms.client.rewrap_all(key, ciphertexts, in_flight=3):
                given.append(result.ciphertext)
        else:
            results = kms.client.rewrap_all(key, ciphertexts, in_flight=3)

            def gather() -> None:
                for result in results:
                    given.append(result.ciphertext)

            await asyncio.to_thread(gather)

    await rewrapped(sealed)
    assert [(await kms("decrypt", key, c)).plaintext for c in given] == [b"%d" % n for n in range(20)]
    assert {(await kms("decrypt", key, c)).version for c in given} == {2}
    with pytest.raises(e.CiphertextRejected):
        await rewrapped([*sealed[:5], sealed[5][:-1] + bytes([sealed[5][-1] ^ 1]), *sealed[6:]])
    assert len(given) == 5


async def test_what_a_caller_may_not_see_takes_no_room_in_a_page(kind: str) -> None:
    rules = (
        Rule(principals=("*",), actions=("*",)),
        Rule(principals=("*service/reader",), actions=("*",), keys=("hidden-*",), effect="deny"),
    )
    with MemoryServer(rules) as server:
        owner, reader = (Sdk(server.profile(name), kind) for name in ("payments", "reader"))
        for name in ("a", "hidden-1", "hidden-2", "hidden-3", "z"):
            await owner("create_key", name)
        assert await listed(reader) == ["a", "z"]
        assert await listed(owner) == ["a", "hidden-1", "hidden-2", "hidden-3", "z"]
        await owner.close()
        await reader.close()
