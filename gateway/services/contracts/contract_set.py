"""The services of one source of contracts."""

from google.protobuf.descriptor import ServiceDescriptor
from msgspec import Struct

BUILTIN = "builtin"
"""The source of the contracts that are installed with the gateway."""


class ContractSet(Struct, frozen=True):
    """The services of one team, or those that are installed with the gateway.

    Attributes:
        source: the file, for problems; "" for contracts that are installed.
        services: the services.
        digest: the SHA-256 of the file; "" for contracts that are installed.
    """

    source: str
    services: tuple[ServiceDescriptor, ...]
    digest: str = ""

    def describe_problem(self, problem: str) -> str:
        """Return a problem of this set with the file that has it."""
        return f"{self.source}: {problem}" if self.source else problem
