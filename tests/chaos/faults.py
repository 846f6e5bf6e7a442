"""All the faults: each breaks one thing for a while and mends it again."""

from collections.abc import Mapping

from tests.chaos.failovers import Failovers
from tests.chaos.peer_faults import PeerFaults
from tests.chaos.store_faults import StoreFaults
from tests.chaos.worker_faults import WorkerFaults
from tests.chaos.world import Break, World
from tests.support.redis_servers import RedisServer


def all_faults(
    world: World, longest_cut: float, pauses: tuple[float, ...]
) -> Mapping[str, Break]:
    """Return the faults by name. See `StoreFaults` for what the arguments mean."""
    redis = world.redis
    if isinstance(redis, RedisServer):
        of_store = StoreFaults(world, redis, longest_cut, pauses).by_name
    else:
        of_store = Failovers(world, redis).by_name
    return {**WorkerFaults(world).by_name, **of_store, **PeerFaults(world).by_name}
