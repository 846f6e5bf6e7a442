"""What holds for all tests."""

# Many tests import gRPC before anything of ours, and gRPC reads its environment then:
# the package sets it, so that tests run gRPC as the gateway does.
import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

import gateway  # noqa: F401 - see above

# A busy machine is slow: neither a draw nor an example has a time limit. `make test`
# tries the same examples every time, so that it is not red by chance; `make explore`
# makes up new ones.
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "same examples", settings.get_profile("explore"), derandomize=True
)
settings.load_profile("same examples")

# A shell starts a background job with SIGINT ignored, and programs inherit that: those
# that a test interrupts would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# All processes of a run load all test modules. Without files of bytecode, each process
# would compile each module, for ten seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude the tests themselves from garbage collection.

    They are a million objects that stay until the end. To scan them again and again
    takes as long as many of the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
