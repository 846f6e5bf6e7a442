"""What holds for all tests."""

# Many tests import gRPC before anything of ours, and gRPC reads its environment then:
# the package sets it, so that tests run gRPC as the gateway does.
import gateway  # noqa: F401 - see above
