"""Keys through two real KMEs: equal at both ends, once to each party, in the order asked."""

from .kme_network import KmeNetwork


async def test_a_drawn_key_is_collected_equal_at_the_other_end(quiet_pair: KmeNetwork) -> None:
    async with quiet_pair.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = await master.draw(3)
        asked = [key.key_id for key in reversed(drawn)]
        collected = await slave.collect(asked)
    assert [key.key_id for key in collected] == asked
    assert [key.key for key in collected] == [key.key for key in reversed(drawn)]
    assert len({key.key for key in drawn}) == 3
    assert all(len(key.key) == 32 and key.age_s is not None for key in drawn)
