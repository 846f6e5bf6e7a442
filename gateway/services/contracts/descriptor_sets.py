"""Reads a descriptor set: the contracts of a team, compiled by buf or protoc.

Every set has a descriptor pool of its own, so that teams may use different versions of
the same file. No message class is made from such a pool: the class would never be
freed.
"""

import gzip
import zlib
from collections.abc import Sequence
from hashlib import sha256

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.contracts.set_checks import (
    HOW_TO_BUILD,
    Files,
    find_changed_types,
    find_missing_imports,
    find_other_options,
    find_shared_symbols,
)

_MAX_BYTES = 64 * 2**20
"""Limit for an unpacked set: a small archive may unpack to any size."""

_GZIP_MAGIC = b"\x1f\x8b"

_BUF_EXTENSION = 8042
"""The field that buf adds to the files of a set (bufbuild/buf: image.proto)."""

_IS_IMPORT = 1
"""The field in it for files that belong to another module."""


def read_descriptor_set(source: str, content: bytes) -> ContractSet:
    """Read and check a descriptor set, and return the services that it defines.

    Services of modules that the set only imports are left out.

    Args:
        source: the path of the file, for messages about problems.
        content: the content of the file, which may be compressed by gzip.

    Raises:
        ConfigurationError: the content is no complete descriptor set, or it cannot be
            served; the error has all problems.
    """
    problems: list[str] = []
    files = _parse_files(content, problems)
    if not problems:
        for find_problems in (
            find_missing_imports,
            find_shared_symbols,
            find_other_options,
            find_changed_types,
        ):
            problems += find_problems(files)
    services = [] if problems else _load_services(files, problems)
    if problems:
        raise ConfigurationError([f"{source}: {problem}" for problem in problems])
    return ContractSet(source, tuple(services), sha256(content).hexdigest())


def _parse_files(content: bytes, problems: list[str]) -> Files:
    """Return the files by name."""
    try:
        files = FileDescriptorSet.FromString(_unpack(content)).file
    except (DecodeError, OSError, EOFError, zlib.error, ValueError):
        problems.append(f"is not a descriptor set: build one with {HOW_TO_BUILD}")
        return {}
    if not files:
        problems.append(f"has no files: build it with {HOW_TO_BUILD}")
    by_name: dict[str, FileDescriptorProto] = {}
    problems += [
        f"has two different files {file.name}"
        for file in files
        if by_name.setdefault(file.name, file) != file
    ]
    return by_name


def _unpack(content: bytes) -> bytes:
    if not content.startswith(_GZIP_MAGIC):
        return content
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with the header of gzip
    unpacked = unpacker.decompress(content, _MAX_BYTES)
    if not unpacker.eof:
        raise gzip.BadGzipFile
    return unpacked


def _load_services(files: Files, problems: list[str]) -> Sequence[ServiceDescriptor]:
    """Return the services of the files, except for those of other modules."""
    pool = DescriptorPool()
    for name in _sort_by_dependency(files):
        try:
            pool.AddSerializedFile(files[name].SerializeToString())
        except TypeError as error:  # its message quotes only code
            problems.append(f"{name} cannot be loaded: {error}")
            return ()
    return [
        service
        for name, file in sorted(files.items())
        if not _is_import(file)
        for service in pool.FindFileByName(name).services_by_name.values()
    ]


def _sort_by_dependency(files: Files) -> Sequence[str]:
    """Return the names of the files, each after those that it imports."""
    names: dict[str, None] = {}
    started = set()
    stack = [(name, iter(files[name].dependency)) for name in files]
    while stack:
        name, dependencies = stack[-1]
        started.add(name)
        following = next((it for it in dependencies if it not in started), None)
        if following is None:
            names.setdefault(name)
            stack.pop()
        else:
            stack.append((following, iter(files[following].dependency)))
    return list(names)


def _is_import(file: FileDescriptorProto) -> bool:
    """Return whether buf says that the file belongs to a module that is imported."""
    extension = _read_unknown_field(file, _BUF_EXTENSION)
    if not isinstance(extension, bytes):
        return False
    try:
        return _read_unknown_field(Empty.FromString(extension), _IS_IMPORT) == 1
    except DecodeError:
        return False


def _read_unknown_field(message: Message, number: int) -> object:
    fields = UnknownFieldSet(message)
    for position in range(len(fields)):
        field = fields[position]
        if field.field_number == number:
            return field.data
    return None
