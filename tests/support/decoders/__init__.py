"""Every decoder of bytes from outside a process, in one table: fuzzed by tests, and by `make fuzz`."""

from decoders import client, files, kme, ledger, proto, service
from decoders.table import Decoder

DECODERS: tuple[Decoder, ...] = (
    *proto.DECODERS,
    *ledger.DECODERS,
    *service.DECODERS,
    *files.DECODERS,
    *client.DECODERS,
    *kme.DECODERS,
)
