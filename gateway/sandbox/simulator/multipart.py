"""Parses multipart/form-data as leniently as the Bot API server does.

Some clients send file names with spaces without quotes, which aiohttp's reader rejects.
The server's rules are in TDLib (tdnet: HttpReader.cpp): quotes are optional, a
backslash escapes the next character, names may be percent-encoded, and a part is a file
if it has a file name, even an empty one.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from msgspec import Struct

_LONGEST_BOUNDARY = 70
_PARAMETER = re.compile(
    rb"""\s*(?P<key>[^=]*?)\s*=\s*
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"\s*(?:;|$)|(?P<token>[^";][^;]*|)(?:;|$))""",
    re.VERBOSE | re.DOTALL,
)


class InvalidForm(ValueError):
    """The body is no valid form. The message is the Bot API server's error text."""


class Part(Struct, frozen=True):
    """One field of a form.

    Attributes:
        name: the field's name.
        file_name: the name of the file; None if the field is a plain value.
        content_type: the content type of the file.
        content: the value, or the content of the file.
    """

    name: str
    file_name: str | None
    content_type: str
    content: bytes


def read_form(content_type: str, body: bytes) -> Iterator[Part]:
    """Yield the fields of a form, one after the other.

    Args:
        content_type: the Content-Type header, which contains the boundary.
        body: the body of the request.

    Raises:
        InvalidForm: the form, or the rest of it after some fields, cannot be parsed.
    """
    boundary = b"--" + _boundary(content_type)
    place = body.find(boundary)
    if place < 0:
        raise InvalidForm("boundary in multipart/form-data not found")
    place += len(boundary)
    while body[place : place + 2] != b"--":
        end_of_headers = body.find(b"\r\n\r\n", place)
        if end_of_headers < 0:
            raise InvalidForm("unexpected end of multipart/form-data")
        if end_of_headers == place:
            raise InvalidForm("headers in multipart/form-data are empty")
        start = end_of_headers + 4
        # An empty value may share its line break with the headers.
        end = body.find(b"\r\n" + boundary, start - 2)
        if end < 0:
            raise InvalidForm("unexpected end of multipart/form-data")
        yield _part(body[place + 2 : end_of_headers], body[start : max(start, end)])
        place = end + 2 + len(boundary)


def _boundary(content_type: str) -> bytes:
    _, found, rest = content_type.partition("boundary")
    _, equals, value = rest.partition("=")
    if not found or not equals:
        raise InvalidForm("boundary not found")
    boundary = value.partition(";")[0].strip()
    if len(boundary) > 1 and boundary[0] == boundary[-1] == '"':
        boundary = boundary[1:-1]
    if not 1 <= len(boundary) <= _LONGEST_BOUNDARY:
        raise InvalidForm("boundary too big or empty")
    return boundary.encode("utf-8", "surrogateescape")


def _part(headers: bytes, content: bytes) -> Part:
    name, file_name, content_type = "", None, "application/octet-stream"
    for header, value in _headers(headers):
        if header == b"content-disposition":
            parameters = _parameters(value)
            name = parameters.get("name", name)
            file_name = parameters.get("filename", file_name)
        elif header == b"content-type":
            content_type = value.decode(errors="replace")
    if not name:
        raise InvalidForm("field name in multipart/form-data not found")
    return Part(name, file_name, content_type, content)


def _headers(lines: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in re.split(rb"\r\n(?![ \t])", lines):
        header, colon, value = line.partition(b":")
        if not colon:
            raise InvalidForm("can't parse form data headers")
        yield header.strip().lower(), value.strip()


def _parameters(value: bytes) -> dict[str, str]:
    """Parse the parameters of a Content-Disposition header."""
    kind, _, rest = value.partition(b";")
    if kind != b"form-data":
        raise InvalidForm("expected form-data content disposition")
    parameters = {}
    while b"=" in rest:
        found = _PARAMETER.match(rest)
        if found is None:
            raise InvalidForm("unclosed quoted string in Content-Disposition header")
        quoted, token = found["quoted"], found["token"]
        if quoted is None:
            raw = token.strip()
        else:
            raw = re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
        key = found["key"].decode(errors="replace")
        parameters[key] = unquote_to_bytes(raw).decode(errors="replace")
        rest = rest[found.end() :]
    return parameters
