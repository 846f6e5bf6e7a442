"""Loads the contracts that the setting CONTRACTS names."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gateway.domain.contract_history import ContractFile
from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import BUILTIN, ContractSet
from gateway.services.contracts.descriptor_sets import read_descriptor_set
from gateway.services.contracts.installed_stubs import discover_services

SUFFIXES = (".binpb", ".binpb.gz")
"""The suffixes of the descriptor sets in a folder. A file that is named by itself may
have any."""

REMOVAL_SUFFIX = ".allow-removal"
"""The suffix of a file beside a set that permits the removal of its triggers."""


def load_contracts(sources: Iterable[str]) -> list[ContractSet]:
    """Load the contracts of all sources, in their order.

    Args:
        sources: each is "builtin" for the installed contracts, or the path of a
            descriptor set, or of a folder with descriptor sets.

    Raises:
        ConfigurationError: some contracts cannot be read; it has all problems.
    """
    problems: list[str] = []
    contracts = parse_files(read_files(sources, problems), problems)
    if problems:
        raise ConfigurationError(problems)
    return contracts


def read_files(sources: Iterable[str], problems: list[str]) -> Iterator[ContractFile]:
    """Read the files of all sources one after the other, in their order.

    A file or folder that cannot be read is skipped, and its problem is added.

    Args:
        sources: as for `load_contracts`. A repeated source is read once.
        problems: the list that the problems are added to.

    Yields:
        Each file with its content; for "builtin", a file without content.
    """
    for source in dict.fromkeys(sources):
        if source == BUILTIN:
            yield ContractFile(BUILTIN)
            continue
        try:
            paths = list_files(source)
        except ConfigurationError as error:
            problems += error.problems
            continue
        for path in paths:
            try:
                content = path.read_bytes()
            except OSError as error:
                problems.append(f"{path}: cannot be read: {error.strerror}")
                continue
            yield ContractFile(str(path), content)


def parse_files(
    files: Iterable[ContractFile], problems: list[str]
) -> list[ContractSet]:
    """Return the contracts in files, in their order, without those that have problems.

    Args:
        files: the files, as `read_files` yields them. The one named "builtin" stands
            for the installed contracts.
        problems: the list that the problems are added to.

    Raises:
        ConfigurationError: the installed contracts cannot be imported.
    """
    contracts = []
    for file in files:
        if file.path == BUILTIN:
            contracts.append(ContractSet("", tuple(discover_services())))
            continue
        try:
            contracts.append(read_descriptor_set(file.path, file.content))
        except ConfigurationError as error:
            problems += error.problems
    return contracts


def list_files(source: str) -> Sequence[Path]:
    """Return the paths of a source's descriptor sets: itself, or all in the folder.

    A path that is not a folder is returned whether or not there is such a file.

    Raises:
        ConfigurationError: the folder cannot be read, or it has no descriptor sets.
    """
    path = Path(source)
    if not path.is_dir():
        return [path]
    try:
        paths = sorted(it for it in path.iterdir() if it.name.endswith(SUFFIXES))
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None
    if not paths:
        raise ConfigurationError([f"{path}: has no files *{' or *'.join(SUFFIXES)}"])
    return paths


def list_ignored_files(source: str) -> Sequence[Path]:
    """Return the files in the folder of a source that are not read as descriptor sets.

    Left out are hidden files, files without a suffix, and files that permit a removal.
    The result is empty for a folder that cannot be read: `list_files` reports that.
    """
    path = Path(source)
    if source == BUILTIN or not path.is_dir():
        return ()
    try:
        found = sorted(path.iterdir())
    except OSError:
        return ()
    return tuple(
        it
        for it in found
        if it.is_file()
        and it.suffix
        and not it.name.startswith(".")
        and not it.name.endswith((*SUFFIXES, REMOVAL_SUFFIX))
    )
