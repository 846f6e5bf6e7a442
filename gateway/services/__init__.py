"""The only room that knows gRPC. Imports the ground floor only."""

import os

# gRPC's core writes lines of its own to standard error, such as one per connection to
# a service without health checks. It reads this only while it is being imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
