"""All the faults: each breaks one thing for a while and mends it again."""

from collections.abc import Mapping

from tests.chaos.peer_faults import PeerFaults
from tests.chaos.store_faults import StoreFaults
from tests.chaos.worker_faults import WorkerFaults
from tests.chaos.world import Break, World


def all_faults(
    world: World, longest_cut: float, pauses: tuple[float, ...]
) -> Mapping[str, Break]:
    """Give the faults by name. See `StoreFaults` for what the arguments mean."""
    return {
        **WorkerFaults(world).by_name,
        **StoreFaults(world, longest_cut, pauses).by_name,
        **PeerFaults(world).by_name,
    }
