"""Leader killed with -9 under calls that share streams: each is answered, with its own result."""

import asyncio
from collections.abc import Callable

import pytest

from qkms_chaos.cluster.world import World
from qkms_client import AsyncClient, Profile, load_profile

CALLERS = 48
CALLS_EACH = 40
KILL_AFTER = CALLERS * 8


@pytest.mark.cluster
def test_every_call_on_a_stream_of_the_killed_leader_is_answered(
    healthy: World, new_key_id: Callable[[], str]
) -> None:
    key, leader = new_key_id(), healthy.observer.wait_leader()
    healthy.payments.create_key(key)
    healthy.observer.wait_agreement()
    known = load_profile(healthy.cluster.layout.service_profile("payments"))
    # The leader first: reads go to the first node that is well, so its streams break.
    order = [leader, *healthy.others(leader)]
    profile = Profile(
        {node: known.endpoints[node] for node in order},
        known.ca,
        known.certificate,
        known.private_key,
        timeout_s=30,
    )
    asyncio.run(call_and_kill(healthy, profile, key, leader))
    healthy.cluster.start_members([leader])
    healthy.observer.wait_agreement()


async def call_and_kill(world: World, profile: Profile, key: str, leader: str) -> None:
    answered: list[str] = []
    killed = asyncio.Event()

    async with AsyncClient(profile) as client:

        async def caller(number: int) -> None:
            for turn in range(CALLS_EACH):
                plaintext = b"%d of %d" % (turn, number)
                sealed = await client.encrypt(key, plaintext)
                assert (await client.decrypt(key, sealed)).plaintext == plaintext
                assert sealed.header is not None
                answered.append(sealed.header.node_id)
                if len(answered) == KILL_AFTER:
                    assert client._carriers[leader]._streams, "the calls share streams"
                    await asyncio.to_thread(world.cluster.nodes[leader].kill)
                    killed.set()

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    assert killed.is_set()
    assert len(answered) == CALLERS * CALLS_EACH
    assert answered[0] == leader
    assert answered[-1] != leader
