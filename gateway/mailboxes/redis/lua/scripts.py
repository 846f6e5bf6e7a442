"""The scripts: every change of a mailbox is one of them, so that it is atomic.

Each names its KEYS and ARGV in its first lines, uses no other key (a Cluster would
execute half of it while a slot moves), and takes the time from Redis alone. Each may be
sent again under the same token with the same effect. In each the first write is one
that frees memory, save in the put of a new update: a full Redis refuses that one and
lets all the others pass.
"""

from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

from msgspec import Struct


class Script(Struct, frozen=True):
    """A script of Redis and the hash it is called by."""

    source: bytes
    sha: bytes


class Scripts(Struct, frozen=True):
    """All the scripts."""

    put: Script
    commit: Script
    acquire: Script
    renew: Script
    list_claimable: Script
    add_dead_letter: Script
    reject_forged: Script
    record_step: Script

    def __iter__(self) -> Iterator[Script]:
        """Go through all of them."""
        return iter(getattr(self, name) for name in self.__struct_fields__)


def load_scripts() -> Scripts:
    """Read the scripts from the files beside this one."""
    return Scripts(*(_load_script(name) for name in Scripts.__struct_fields__))


def _load_script(name: str) -> Script:
    source = Path(__file__).with_name(f"{name}.lua").read_bytes()
    # Redis names scripts by this hash; nothing depends on its strength.
    return Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())
