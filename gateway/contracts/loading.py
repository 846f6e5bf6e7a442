"""Loads the contracts that the settings name, and checks them as a whole."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b, sha256
from pathlib import PurePath

from msgspec import Struct

from gateway.domain.contract_history import ContractFile, ContractGeneration
from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.contracts.sources import (
    list_ignored_files,
    parse_files,
    read_files,
)
from gateway.services.routing.contract_warnings import find_warnings
from gateway.services.routing.route_table import RouteTable, combine_contracts
from gateway.telegram.inbound.update_types import ROUTABLE_NAMES


class LoadedContracts(Struct, frozen=True):
    """The contracts of all sources, as one route table.

    Attributes:
        table: the routes of all contracts.
        warnings: probable mistakes in the contracts, a line each.
        sets: the descriptor set of each file.
        files: the paths and contents of the files.
    """

    table: RouteTable
    warnings: Sequence[str]
    sets: Sequence[ContractSet]
    files: Sequence[ContractFile] = ()

    @property
    def digest(self) -> str:
        """A hash of the names and contents of the files, whatever their folders are."""
        return compute_files_digest(self.files)

    @property
    def digests(self) -> frozenset[str]:
        """The hashes of the contents of all sets."""
        return frozenset(contract.digest for contract in self.sets)

    @property
    def sets_by_service(self) -> Mapping[str, ContractSet]:
        """The descriptor sets by the full names of the gRPC services in them."""
        return {
            service.full_name: contract
            for contract in self.sets
            for service in contract.services
        }


def load_sources(
    sources: Sequence[str], running: Collection[str] = ()
) -> LoadedContracts:
    """Load the contracts of sources, and check them as a whole.

    Args:
        sources: the sources, as in the setting CONTRACTS.
        running: the digests of the sets that are served already. If two sets contradict
            each other, the one that is not served yet has the problem.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    problems: list[str] = []
    files: list[ContractFile] = []

    def read() -> Iterator[ContractFile]:
        for file in read_files(sources, problems):
            files.append(file)
            yield file

    # Each file is parsed when it is read, so the problems are in the order of files.
    contracts = parse_files(read(), problems)
    if problems:
        raise ConfigurationError(problems)
    contracts.sort(key=lambda contract: contract.digest not in running)
    table = combine_contracts(contracts)
    warnings = find_contract_warnings(contracts, table, sources)
    return LoadedContracts(table, warnings, contracts, files)


def load_generation(generation: ContractGeneration) -> LoadedContracts:
    """Load the contracts of a generation, which another gateway may have accepted.

    The result has no warnings.

    Raises:
        ConfigurationError: this gateway cannot read the contracts, or their routes
            contradict each other; it has all problems.
    """
    problems: list[str] = []
    contracts = parse_files(generation.files, problems)
    if problems:
        raise ConfigurationError(problems)
    table = combine_contracts(contracts)
    return LoadedContracts(table, (), contracts, generation.files)


def find_contract_warnings(
    contracts: Iterable[ContractSet], table: RouteTable, sources: Iterable[str]
) -> list[str]:
    """Return a line for each probable mistake in contracts, or in their folders.

    Args:
        contracts: the contracts.
        table: the routes of these contracts.
        sources: the files and folders that they were read from. A file in a folder that
            was not read is a probable mistake.
    """
    ignored = [path for source in sources for path in list_ignored_files(source)]
    return [
        *find_warnings(contracts, table, ROUTABLE_NAMES),
        *(f"{path} is not read: its suffix is not that of a set" for path in ignored),
    ]


def compute_files_digest(files: Iterable[ContractFile]) -> str:
    """Return a hash of the names and contents of files, whatever their folders are."""
    parts = sorted(
        (PurePath(file.path).name, sha256(file.content).hexdigest()) for file in files
    )
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def compute_digest(table: RouteTable) -> str:
    """Return a digest of a table's routes, by which gateways can be compared."""
    parts = (
        (
            route.trigger.text,
            route.method,
            route.service,
            route.description,
            route.requires_signature,
            route.shows_typing,
            route.request_type.DESCRIPTOR.full_name,
            route.response_type.DESCRIPTOR.full_name,
        )
        for route in table.routes
    )
    return blake2b(repr(tuple(parts)).encode(), digest_size=8).hexdigest()
