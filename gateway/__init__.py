"""A gateway between Telegram and a company's internal gRPC services.

gRPC reads its environment while it is imported, so it is set here: this module is
imported before any other of the package, whichever way the program starts.
"""

import os

# gRPC's core writes lines of its own to standard error, such as one per connection to
# a service without health checks.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# The thread that hands out answers reads the connections as well. gRPC's event engine
# reads in threads of its own, which wake up four times for each call: 5 to 10 % of what
# an update costs (benchmarks/README.md).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
