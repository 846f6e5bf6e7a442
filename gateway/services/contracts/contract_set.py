"""The services of one source of contracts, which is a file or the installation."""

from google.protobuf.descriptor import ServiceDescriptor
from msgspec import Struct

BUILTIN = "builtin"
"""The source of the contracts that are installed with the gateway."""


class ContractSet(Struct, frozen=True):
    """The services that one file defines, or those that are installed with the gateway.

    Attributes:
        source: the path of the file, for messages about problems; "" for contracts that
            are installed.
        services: the descriptors of the services.
        digest: the SHA-256 of the file; "" for contracts that are installed.
    """

    source: str
    services: tuple[ServiceDescriptor, ...]
    digest: str = ""

    def describe_problem(self, problem: str) -> str:
        """Return a problem as text, after the path of the file if there is one."""
        return f"{self.source}: {problem}" if self.source else problem
