"""Finds mistakes in the files of a descriptor set that keep it from being served."""

from collections.abc import Iterator, Mapping

from botgateway.route.v1 import route_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

Files = Mapping[str, FileDescriptorProto]
"""The files of a set by name."""

HOW_TO_BUILD = (
    "`buf build -o FILE.binpb`, or"
    " `protoc --include_imports --descriptor_set_out=FILE.binpb`"
)
_HOW_TO_EXPORT = (
    "compile against the gateway's contracts (`telegram-gateway contracts export DIR`)"
)

_METHOD_OPTIONS = ".google.protobuf.MethodOptions"
_OWN_PACKAGES = (
    "botgateway.chat.v1",
    "botgateway.delivery.v1",
    "botgateway.route.v1",
)


def find_missing_imports(files: Files) -> Iterator[str]:
    """Yield a text for each imported file that is not in the set."""
    importers: dict[str, str] = {}
    for file in files.values():
        for name in file.dependency:
            if name not in files:
                importers.setdefault(name, file.name)
    for name, importer in sorted(importers.items()):
        yield (
            f"{importer} imports {name}, which is not in the set: build it with"
            f" imports, by {HOW_TO_BUILD}"
        )


def find_shared_symbols(files: Files) -> Iterator[str]:
    """Yield a text for each pair of files that define the same name.

    Such files are often copies of one proto under two paths.
    """
    owners: dict[str, str] = {}
    shared: dict[tuple[str, str], str] = {}
    for file in files.values():
        for symbol in _list_symbols(file):
            owner = owners.setdefault(symbol, file.name)
            if owner != file.name:
                shared.setdefault((owner, file.name), symbol)
    for (owner, other), symbol in shared.items():
        yield f"{symbol} is defined by {owner} and by {other}: keep one of the files"


def find_other_options(files: Files) -> Iterator[str]:
    """Yield a text for each option that may be mistaken for the gateway's `route`.

    A copy of `route.proto` may have another number, which the gateway would not read;
    or another option may have the number that the gateway reads as `route`.
    """
    number = route_pb2.ROUTE_FIELD_NUMBER
    messages = {
        f".{symbol}": message
        for file in files.values()
        for symbol, message in _list_messages(file)
    }
    for file in files.values():
        for extension in file.extension:
            if extension.extendee != _METHOD_OPTIONS:
                continue
            is_route = _is_route(messages.get(extension.type_name))
            name = f"{file.package}.{extension.name}"
            if is_route and extension.number != number:
                yield (
                    f"{file.name}: the option {name} has the number {extension.number},"
                    f" and the gateway reads {number}: {_HOW_TO_EXPORT}"
                )
            elif extension.number == number and not is_route:
                yield (
                    f"{file.name}: the option {name} has the number {number}, which"
                    " the gateway reads as routes: choose another number"
                )


def find_changed_types(files: Files) -> Iterator[str]:
    """Yield a text for each field that has another type than in the gateway's messages.

    Missing and additional fields are no problem: the set then uses an older or newer
    version of these messages.
    """
    pool = descriptor_pool.Default()
    for file in files.values():
        if file.package not in _OWN_PACKAGES:
            continue
        for symbol, message in _list_messages(file):
            try:
                own = pool.FindMessageTypeByName(symbol)
            except KeyError:
                continue
            for field in message.field:
                own_field = own.fields_by_number.get(field.number)
                if own_field is not None and _differs(field, own_field):
                    yield (
                        f"{file.name}: {symbol}.{field.name} is not of the type that"
                        f" field {field.number} has in the gateway: {_HOW_TO_EXPORT}"
                    )


def _list_symbols(file: FileDescriptorProto) -> Iterator[str]:
    prefix = f"{file.package}." if file.package else ""
    for parts in (file.message_type, file.enum_type, file.service, file.extension):
        for part in parts:
            yield prefix + part.name


def _list_messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    prefix = f"{file.package}." if file.package else ""
    for message in file.message_type:
        yield prefix + message.name, message


def _is_route(message: DescriptorProto | None) -> bool:
    """Return whether a message is a copy of `Route`, whatever its package is."""
    if message is None or message.name != route_pb2.Route.DESCRIPTOR.name:
        return False
    return {"command", "callback"} <= {field.name for field in message.field}


def _differs(field: FieldDescriptorProto, own: FieldDescriptor) -> bool:
    is_repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    own_type = own.message_type or own.enum_type
    type_name = f".{own_type.full_name}" if own_type else ""
    return (
        field.type != own.type
        or is_repeated != own.is_repeated
        or field.type_name != type_name
    )
