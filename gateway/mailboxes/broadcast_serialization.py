"""The stored form of broadcasts in Redis, with signatures.

The stored form is a signature, followed by the broadcast itself. It is signed because
services rely on it and its text goes to many users. The ids of the recipients and the
state are not signed: whoever can write to Redis could also delete or restore them.
"""

from msgspec import DecodeError, msgpack

from gateway.domain.broadcast import Broadcast
from gateway.domain.errors import ForgedEntry
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

_encode = msgpack.Encoder().encode
_decoder = msgpack.Decoder(Broadcast)


def encode_broadcast(broadcast: Broadcast, signatures: StoreSignatures) -> bytes:
    """Return the bytes to store for a broadcast: its signature, then itself."""
    content = _encode(broadcast)
    key = broadcast.broadcast_id.encode()
    return signatures.sign(Purpose.BROADCAST, key, content) + content


def decode_broadcast(
    stored: bytes, broadcast_id: str, signatures: StoreSignatures
) -> Broadcast:
    """Verify and decode the stored bytes of a broadcast.

    Args:
        stored: the bytes, from `encode_broadcast`.
        broadcast_id: the id under which they were stored; it is part of the signature.
        signatures: has the secrets that are accepted.

    Raises:
        ForgedEntry: no gateway with our secrets wrote these bytes under this id, or
            they are not readable.
    """
    signature, content = stored[:SIGNATURE_BYTES], stored[SIGNATURE_BYTES:]
    key = broadcast_id.encode()
    if not signatures.verify(Purpose.BROADCAST, key, signature, content):
        raise ForgedEntry("a broadcast has a wrong signature")
    try:
        return _decoder.decode(content)
    except DecodeError:
        raise ForgedEntry("a broadcast is not readable") from None
