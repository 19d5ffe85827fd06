"""The SKIP client against KMEs that deviate: the right key or a clear error that names the KME, over TLS."""

from collections.abc import AsyncIterator

import pytest

from qkms_qkd.skip.client import SkipLink

from .certificates import TestAuthority
from .deviant_kme import DeviantKme, failure

KEY_ID = "1726e9ae76234fb1dd1283d4dca1911e"
KEY = bytes(range(32))
CAPABILITIES = {
    "entropy": True,
    "key": True,
    "algorithm": "QKD",
    "localSystemID": "node-1",
    "remoteSystemID": ["node 2/ä"],
}


@pytest.fixture
async def link(kme: DeviantKme, authority: TestAuthority) -> AsyncIterator[SkipLink]:
    """A SKIP link to the KME that answers as told."""
    leaf = authority.issue("node", "node-1")
    opened = SkipLink(
        kme_id="kme-x",
        url=f"https://127.0.0.1:{kme.port}/",
        local_sae="node-1",
        peer_sae="node 2/ä",
        ca=leaf.ca,
        certificate=leaf.certificate,
        private_key=leaf.private_key,
    )
    yield opened
    await opened.close()


def key(**changes: object) -> dict[str, object]:
    return {"keyId": KEY_ID, "key": KEY.hex(), **changes}


async def test_what_is_sent_is_the_draft_to_the_letter(kme: DeviantKme, link: SkipLink) -> None:
    kme.answers(key())
    await link.draw()
    await link.collect([KEY_ID])
    kme.answers(CAPABILITIES)
    await link.status()
    assert kme.asked == [
        ("GET", "/key?remoteSystemID=node%202%2F%C3%A4&size=256", None),
        ("GET", f"/key/{KEY_ID}?remoteSystemID=node%202%2F%C3%A4", None),
        ("GET", "/capabilities", None),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"vendor": 1},
        {"keyId": KEY_ID.upper()},
        {"key": KEY.hex().upper()},
    ],
)
async def test_forms_that_deviate_harmlessly_are_read(
    kme: DeviantKme, link: SkipLink, changes: dict[str, object]
) -> None:
    kme.answers(key(**changes))
    [drawn] = await link.draw()
    [collected] = await link.collect([KEY_ID])
    assert (drawn.key, collected.key, collected.key_id) == (KEY, KEY, KEY_ID)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (key(key=KEY.hex()[:-2]), "KEY_WRONG_LENGTH"),
        (key(key=KEY.hex() * 2), "KEY_WRONG_LENGTH"),
        (key(key=""), "KEY_WRONG_LENGTH"),
        (key(key=KEY.hex()[:-1]), "KME_BAD_ANSWER"),
        (key(key="0x" + KEY.hex()[2:]), "KME_BAD_ANSWER"),
        (key(key=" " * 64), "KME_BAD_ANSWER"),
        (key(key="Zm9v"), "KME_BAD_ANSWER"),
        (key(keyId="not-hex"), "KME_BAD_ANSWER"),
        (key(keyId=""), "KME_BAD_ANSWER"),
        (key(keyId="a" * 129), "KME_BAD_ANSWER"),
        ({"keyId": KEY_ID}, "KME_BAD_ANSWER"),
        ([key()], "KME_BAD_ANSWER"),
        (b"<html>It works!</html>", "KME_BAD_ANSWER"),
    ],
)
async def test_no_key_comes_of_a_wrong_answer(kme: DeviantKme, link: SkipLink, answer: object, code: str) -> None:
    kme.answers(answer)
    for attempt in (link.draw(), link.collect([KEY_ID])):
        error = await failure(attempt)
        assert error.code == code
        assert KEY.hex()[:16] not in str(error)


async def test_another_key_than_the_one_asked_for_is_not_taken(kme: DeviantKme, link: SkipLink) -> None:
    kme.answers(key(keyId="ab" * 16))
    assert (await failure(link.collect([KEY_ID]))).code == "KME_BAD_ANSWER"


async def test_the_same_key_twice_is_not_taken(kme: DeviantKme, link: SkipLink) -> None:
    kme.answers(key())
    assert (await failure(link.draw(2))).code == "KEY_REPLAYED"


@pytest.mark.parametrize(
    ("status", "body", "drawing", "collecting"),
    [
        (400, b"", "KME_REFUSED", "KEY_NOT_FOUND"),
        (400, {"message": "one or more keys specified are not found on KME"}, "KEY_NOT_FOUND", "KEY_NOT_FOUND"),
        (400, {"detail": "remoteSystemID?"}, "KME_REFUSED", "KME_REFUSED"),
        (401, b"", "KME_UNAUTHORIZED", "KME_UNAUTHORIZED"),
        (404, b"", "KME_BAD_ANSWER", "KME_BAD_ANSWER"),
        (405, b"", "KME_BAD_ANSWER", "KME_BAD_ANSWER"),
        (500, {"message": "later", "details": [{"code": "LINK_DOWN"}]}, "LINK_DOWN", "LINK_DOWN"),
        (500, {"message": "no key"}, "STORE_EXHAUSTED", "STORE_EXHAUSTED"),
        (500, b"<html>oops</html>", "KME_BAD_ANSWER", "KME_BAD_ANSWER"),
        (302, b"", "KME_BAD_ANSWER", "KME_BAD_ANSWER"),
    ],
)
async def test_refusals(
    kme: DeviantKme, link: SkipLink, status: int, body: object, drawing: str, collecting: str
) -> None:
    kme.answers(body, status)
    assert (await failure(link.draw())).code == drawing
    assert (await failure(link.collect([KEY_ID]))).code == collecting


@pytest.mark.parametrize("remote", [["node 2/ä"], ["other", "node*"], ["node ?/[a-zä]"]])
async def test_a_remote_system_may_be_named_by_a_pattern(
    kme: DeviantKme, link: SkipLink, remote: list[str]
) -> None:
    kme.answers({**CAPABILITIES, "remoteSystemID": remote})
    status = await link.status()
    assert (status.stored_key_count, status.qber, status.up) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"remoteSystemID": []}, "KME_REFUSED"),
        ({"remoteSystemID": ["node-2"]}, "KME_REFUSED"),
        ({"key": False}, "KME_REFUSED"),
        ({"remoteSystemID": "node 2/ä"}, "KME_BAD_ANSWER"),
        ({"key": "perhaps"}, "KME_BAD_ANSWER"),
    ],
)
async def test_a_kme_that_shares_no_keys_with_the_peer_is_no_link(
    kme: DeviantKme, link: SkipLink, changes: dict[str, object], code: str
) -> None:
    kme.answers({**CAPABILITIES, **changes})
    assert (await failure(link.status())).code == code
