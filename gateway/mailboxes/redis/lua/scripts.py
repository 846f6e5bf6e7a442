"""Loads the Lua scripts, which make every change of a mailbox atomic.

Rules for every script:

- Its first lines document KEYS, ARGV and the result.
- It uses only the keys in KEYS: otherwise a Cluster could execute half of the script
  while a slot is being moved.
- It takes the time from Redis only.
- Sending it again with the same token has the same effect.
- Its first write frees memory, because a full Redis then also accepts its other writes.
  The put of a new update is the exception: a full Redis has to refuse it.
"""

from hashlib import sha1
from pathlib import Path

from msgspec import Struct

_DELIVERY_SCRIPTS = frozenset(
    {
        "put_delivery",
        "begin_part",
        "retract_part",
        "commit_delivery",
        "cancel_delivery",
        "end_delivery",
        "replay_begin",
        "enter_delivery",
        "replay_delivery",
        "enter_recipient",
        "end_recipient",
    }
)
"""The scripts that `delivery_record.lua` precedes."""

_RECIPIENT_SCRIPTS = frozenset({"commit_delivery", "end_recipient"})
"""The scripts that `recipient_counts.lua` precedes."""


class Script(Struct, frozen=True):
    """A Lua script, and the SHA-1 hash by which Redis calls it."""

    source: bytes
    sha: bytes


class Scripts(Struct, frozen=True):
    """All Lua scripts. Each field has the name of its file, without ".lua"."""

    put: Script
    commit: Script
    acquire: Script
    renew: Script
    list_claimable: Script
    add_dead_letter: Script
    reject_forged: Script
    record_step: Script
    hold_lease: Script
    add_generation: Script
    put_delivery: Script
    begin_part: Script
    retract_part: Script
    commit_delivery: Script
    cancel_delivery: Script
    enter_delivery: Script
    end_delivery: Script
    release_key: Script
    record_cooldown: Script
    replay_begin: Script
    replay_delivery: Script
    list_due: Script
    list_bulk: Script
    create_broadcast: Script
    change_broadcast: Script
    add_recipients: Script
    list_recipients: Script
    enter_recipient: Script
    end_recipient: Script
    drop_recipients: Script

    @property
    def sources(self) -> list[bytes]:
        """The sources of all scripts, for loading them into a server."""
        return [getattr(self, name).source for name in self.__struct_fields__]


def load_scripts() -> Scripts:
    """Read all scripts from the files in this directory."""
    return Scripts(*(_load_script(name) for name in Scripts.__struct_fields__))


def _load_script(name: str) -> Script:
    source = _read_file(name)
    if name in _RECIPIENT_SCRIPTS:
        source = _read_file("recipient_counts") + source
    if name in _DELIVERY_SCRIPTS:
        source = _read_file("delivery_record") + source
    # Redis identifies scripts by their SHA-1, which need not be secure here.
    return Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())


def _read_file(name: str) -> bytes:
    return Path(__file__).with_name(f"{name}.lua").read_bytes()
