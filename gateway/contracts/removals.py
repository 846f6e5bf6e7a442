"""Decides whether triggers may disappear from a running gateway.

Users know commands, and old buttons stay in chats. So a set with fewer triggers than
before is refused unless a file beside it, such as `billing.allow-removal`, permits it:
an empty file for every set of that name, or one with the SHA-256 of the new set.
"""

from collections.abc import Iterator
from pathlib import Path

from gateway.contracts.loading import LoadedContracts
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.contracts.sources import REMOVAL_SUFFIX, SUFFIXES
from gateway.services.routing.table_diff import list_removed


def find_forbidden_removals(
    running: LoadedContracts, loaded: LoadedContracts
) -> Iterator[str]:
    """Yield a line for each trigger that would disappear without permission.

    Args:
        running: the contracts that are served.
        loaded: the contracts that would be served from now on.
    """
    before, after = running.sets_by_service, loaded.sets_by_service
    for text, method in list_removed(running.table, loaded.table):
        service = method.rpartition(".")[0]
        contract = before.get(service) or after.get(service)
        if contract is None or not contract.source:
            yield f"{text} would be gone"
            continue
        path = get_permission_path(Path(contract.source))
        if not _is_permitted(path, after.get(service)):
            yield f"{contract.source}: {text} would be gone: {path} permits that"


def get_permission_path(path: Path) -> Path:
    """Return the path of the file that permits to remove triggers of a set.

    Args:
        path: the file of the set, such as `billing.binpb`.
    """
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    return path.with_name(name + REMOVAL_SUFFIX)


def _is_permitted(path: Path, contract: ContractSet | None) -> bool:
    try:
        digest = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return not digest or (contract is not None and digest == contract.digest)
