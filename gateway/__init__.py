"""A gateway between Telegram and a company's internal gRPC services.

gRPC and pydantic read their environment variables while they are imported. They are set
here because this module is imported before all others of the package, however the
program starts.
"""

import os

# gRPC's core writes its own log lines to standard error, such as one per connection to
# a service without health checks.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Without gRPC's event engine, the thread that delivers replies also reads from the
# connections. The event engine reads in its own threads, which wake up four times for
# each call: 5 to 10 % of the cost of an update (benchmarks/README.md).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
# pydantic looks for plugins, which could read all settings, in every package that is
# installed: a tenth of the time that the gateway takes to start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
