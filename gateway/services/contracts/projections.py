"""Makes message classes for contracts that the gateway was not built with.

Messages of a set's own descriptor pool cannot contain the gateway's `RequestContext`,
and their classes are never freed. So the gateway uses a projection instead: a message
in the default pool that has only those fields of a request or response that the gateway
uses, with their numbers. Encoded, both messages are the same. Fields that a projection
does not have are skipped as unknown, so a team may use another version of
`botgateway.chat.v1`.
"""

from collections.abc import Collection
from hashlib import blake2b

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "botgateway.projections"
_NAME = "Projection"


def get_message_class(
    message: Descriptor, field_names: Collection[str]
) -> type[Message]:
    """Return the class with which the gateway reads or writes a message.

    The class of a contract from a file has only some of the fields. It is added to the
    default descriptor pool, or reused if the same class was added before.

    Args:
        message: the message of a contract. If it is in the default descriptor pool, its
            ordinary class is returned, which has all fields.
        field_names: the fields that the gateway uses. Fields that are messages need a
            type that is in the default pool, such as `RequestContext`.
    """
    pool = descriptor_pool.Default()
    if message.file.pool is pool:
        return GetMessageClass(message)
    file = _describe_projection(message, field_names)
    # Named by its content: loading the same contract again adds nothing to the pool.
    digest = blake2b(file.SerializeToString(deterministic=True), digest_size=16)
    file.package = f"{_PACKAGE}.p{digest.hexdigest()}"
    file.name = f"{file.package.replace('.', '/')}.proto"
    name = f"{file.package}.{_NAME}"
    try:
        descriptor = pool.FindMessageTypeByName(name)
    except KeyError:
        pool.AddSerializedFile(file.SerializeToString())
        descriptor = pool.FindMessageTypeByName(name)
    return GetMessageClass(descriptor)


def _describe_projection(
    message: Descriptor, field_names: Collection[str]
) -> FileDescriptorProto:
    """Return a file with a message that has some of the fields of another message."""
    file = FileDescriptorProto(syntax="proto3")
    projection = file.message_type.add(name=_NAME)
    oneofs: dict[str, int] = {}
    dependencies = set()
    optional_fields = []
    for field in sorted(message.fields, key=lambda field: field.number):
        if field.name not in field_names:
            continue
        copy = projection.field.add(name=field.name, number=field.number)
        copy.label = (
            FieldDescriptorProto.LABEL_REPEATED
            if field.is_repeated
            else FieldDescriptorProto.LABEL_OPTIONAL
        )
        if field.message_type:
            copy.type = FieldDescriptorProto.TYPE_MESSAGE
            copy.type_name = f".{field.message_type.full_name}"
            dependencies.add(_find_file_name(field.message_type))
            continue
        copy.type = _get_scalar_type(field)
        if field.containing_oneof and len(field.containing_oneof.fields) > 1:
            oneof = field.containing_oneof.name
            copy.oneof_index = oneofs.setdefault(oneof, len(oneofs))
        elif field.has_presence:
            optional_fields.append(copy)
    for name in oneofs:
        projection.oneof_decl.add(name=name)
    for copy in optional_fields:  # their oneofs follow the others
        copy.proto3_optional = True
        copy.oneof_index = len(projection.oneof_decl)
        projection.oneof_decl.add(name=f"_{copy.name}")
    file.dependency.extend(sorted(dependencies))
    return file


def _find_file_name(message: Descriptor) -> str:
    own = descriptor_pool.Default().FindMessageTypeByName(message.full_name)
    return str(own.file.name)


def _get_scalar_type(field: FieldDescriptor) -> "FieldDescriptorProto.Type.ValueType":
    # The converters of variables return numbers for enums, which are the same on the
    # wire, and the enum of a contract is not in the default pool.
    if field.enum_type:
        return FieldDescriptorProto.TYPE_INT32
    return FieldDescriptorProto.Type.ValueType(field.type)
