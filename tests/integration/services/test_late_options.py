"""Routes of contracts whose options were parsed before the options were known."""

import subprocess
import sys

LATE = """
from google.protobuf import descriptor_pb2, descriptor_pool
from botgateway.chat.v1 import context_pb2, reply_pb2
file = descriptor_pb2.FileDescriptorProto(
    name="late.proto", package="late", syntax="proto3",
    dependency=[context_pb2.DESCRIPTOR.name, reply_pb2.DESCRIPTOR.name])
for name, kind in ("Request", "RequestContext"), ("Response", "Reply"):
    file.message_type.add(name=name).field.add(
        name="it", number=1, type=11, label=1, type_name=".botgateway.chat.v1." + kind)
method = file.service.add(name="LateService").method.add(
    name="Do", input_type=".late.Request", output_type=".late.Response")
method.options.MergeFromString(bytes.fromhex("aae019070a052f6c617465"))
pool = descriptor_pool.Default()
pool.AddSerializedFile(file.SerializeToString())
service = pool.FindServiceByName("late.LateService")
method = service.methods[0]  # held, because it keeps its options
assert not method.GetOptions().ListFields()  # parsed: nothing known
from gateway.services.routing.route_table import build_route_table
print(build_route_table([service]).route_names)
"""


def test_routes_are_read_where_the_options_were_parsed_too_early() -> None:
    """Options keep what they did not know as unknown for ever: they are read again."""
    output = subprocess.run(
        [sys.executable, "-c", LATE], check=True, capture_output=True, text=True
    ).stdout
    assert output == "('/help', '/late')\n"
