"""What holds for all tests."""

# Many tests import gRPC before anything of ours, and gRPC reads its environment then:
# the package sets it, so that tests run gRPC as the gateway does.
from hypothesis import HealthCheck, settings

import gateway  # noqa: F401 - see above

# A busy machine is slow: neither a draw nor an example has a time limit.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
