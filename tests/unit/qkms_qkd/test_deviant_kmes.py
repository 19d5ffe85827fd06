"""The client against KMEs that deviate as those in the field do: the right keys or a clear error, over TLS."""

import base64

import pytest

from qkms_qkd.exchange import MAX_ANSWER_BYTES

from .deviant_kme import IDS, KEYS, DeviantKme, container, failure


async def test_what_is_sent_is_the_standard_to_the_letter(kme: DeviantKme) -> None:
    kme.answers(container())
    await kme.link.draw(2)
    await kme.link.collect(IDS)
    kme.answers({"key_size": 256, "stored_key_count": 3})
    await kme.link.status()
    base = "/api/v1/keys/node%202%2F%C3%A4"
    assert kme.asked == [
        ("POST", f"{base}/enc_keys", {"number": 2, "size": 256}),
        ("POST", f"{base}/dec_keys", {"key_IDs": [{"key_ID": key_id} for key_id in IDS]}),
        ("GET", f"{base}/status", None),
    ]


async def test_keys_in_another_order_and_case_are_put_right(kme: DeviantKme) -> None:
    answer = container(1, 0)
    for key in answer["keys"]:
        key["key_ID"] = key["key_ID"].upper()
    kme.answers(answer)
    assert [key.key for key in await kme.link.collect(IDS)] == KEYS
    assert [key.key_id for key in await kme.link.collect(IDS)] == IDS


async def test_unknown_fields_are_read_over(kme: DeviantKme) -> None:
    kme.answers(container(0, surprise=[1], key_extension="text") | {"key_container_extension": 7})
    [key] = await kme.link.draw()
    assert (key.key, key.age_s) == (KEYS[0], None)


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 64])
@pytest.mark.parametrize("operation", ["draw", "collect"])
async def test_no_key_of_another_length_is_accepted(kme: DeviantKme, length: int, operation: str) -> None:
    kme.answers(container(0, key=base64.b64encode(b"\x07" * length).decode()))
    error = await failure(kme.link.draw() if operation == "draw" else kme.link.collect(IDS[:1]))
    assert error.code == "KEY_WRONG_LENGTH"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"message": "one or more keys specified are not found on KME"}, "KEY_NOT_FOUND"),
        (422, {"detail": "Key not found"}, "KEY_NOT_FOUND"),
        (500, {"detail": [{"msg": "key does not exist"}]}, "KEY_NOT_FOUND"),
        (404, {"message": "Not Found"}, "KEY_NOT_FOUND"),
        (503, {"message": "Not enough keys", "details": []}, "STORE_EXHAUSTED"),
        (400, {"message": "insufficient key material"}, "STORE_EXHAUSTED"),
        (503, {"message": "later", "details": [{"code": "LINK_DOWN"}]}, "LINK_DOWN"),
        (503, {"message": "later", "details": [{"code": "ROOT"}, 7, None]}, "KME_BAD_ANSWER"),
        (503, {"message": "later", "details": "none"}, "KME_BAD_ANSWER"),
        (400, {"message": "size shall be a multiple of 8"}, "KME_REFUSED"),
        (422, {"detail": "size"}, "KME_REFUSED"),
        (500, {"message": "oops"}, "KME_BAD_ANSWER"),
        (500, {}, "KME_BAD_ANSWER"),
        (500, [], "KME_BAD_ANSWER"),
        (400, b"", "KME_BAD_ANSWER"),
        (500, b"<html>oops</html>", "KME_BAD_ANSWER"),
        (401, b"", "KME_UNAUTHORIZED"),
        (403, {"message": "no"}, "KME_UNAUTHORIZED"),
        (302, b"", "KME_BAD_ANSWER"),
        (204, b"", "KME_BAD_ANSWER"),
    ],
)
async def test_refusals_however_they_are_dressed(kme: DeviantKme, status: int, body: object, code: str) -> None:
    kme.answers(body, status)
    error = await failure(kme.link.collect(IDS))
    assert error.code == code
    if code not in ("KME_UNAUTHORIZED", "LINK_DOWN"):
        assert str(status) in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>Login</html>",
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": [null]}',
        b'{"keys": [{"key_ID": "a"}]}',
        b'{"keys": [{"key_ID": 1, "key": []}]}',
        b'{"keys": []}',
        b'{"keys": [{"key_ID": "a", "key": "not base64!"}]}',
        b'{"keys": [{"key_ID": "", "key": ""}]}',
        b'{"keys": [{"key_ID": "a\\nb", "key": ""}]}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
async def test_an_answer_of_another_form(kme: DeviantKme, body: bytes) -> None:
    kme.answers(body)
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


async def test_errors_quote_little_and_nothing_unprintable(kme: DeviantKme) -> None:
    kme.answers({"message": "\x1b[31m" + "long\n" * 1000}, 500)
    text = str(await failure(kme.link.draw()))
    assert text.isprintable()
    assert len(text) < 400


async def test_more_or_fewer_keys_than_asked_for(kme: DeviantKme) -> None:
    kme.answers(container(0, 1))
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"
    assert (await failure(kme.link.draw(3))).code == "KME_BAD_ANSWER"
    assert (await failure(kme.link.collect(IDS[:1]))).code == "KME_BAD_ANSWER"


async def test_a_missing_key_is_named(kme: DeviantKme) -> None:
    kme.answers(container(0))
    error = await failure(kme.link.collect(IDS))
    assert error.code == "KEY_NOT_FOUND"
    assert IDS[1] in error.message


async def test_a_key_id_given_twice(kme: DeviantKme) -> None:
    kme.answers(container(0, 0))
    assert (await failure(kme.link.draw(2))).code == "KEY_REPLAYED"


async def test_an_endless_answer_is_cut_off(kme: DeviantKme) -> None:
    kme.answers_raw(b" " * (MAX_ANSWER_BYTES + 1), "application/json", 200)
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


async def test_a_compressed_answer_is_refused(kme: DeviantKme) -> None:
    kme.answers_raw(b"\x1f\x8b", "application/json", 200, **{"Content-Encoding": "gzip"})
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


async def test_status_with_the_least_a_kme_may_say(kme: DeviantKme) -> None:
    kme.answers({"key_size": "256", "stored_key_count": "3", "status_extension": []})
    status = await kme.link.status()
    assert (status.key_size, status.stored_key_count, status.source_kme) == (256, 3, "kme-x")
    assert (status.qber, status.skr_bps, status.up) == (None, None, None)


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({"qber": 0.05, "skr_bps": 7, "link_state": "up"}, (0.05, 7.0, True)),
        ({"qber": None, "skr_bps": 0.0, "link_state": "down"}, (None, 0.0, False)),
        ({"qber": "low", "skr_bps": True, "link_state": ["up"]}, (None, None, None)),
    ],
)
async def test_status_extension(kme: DeviantKme, extension: object, expected: tuple[object, ...]) -> None:
    kme.answers({"key_size": 256, "stored_key_count": 3, "status_extension": extension})
    status = await kme.link.status()
    assert (status.qber, status.skr_bps, status.up) == expected
