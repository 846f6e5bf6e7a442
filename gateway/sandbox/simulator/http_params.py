"""Decodes the parameters of a Bot API call from HTTP, and encodes the response."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from gateway.sandbox.simulator.image_size import read_size
from gateway.sandbox.simulator.multipart import InvalidForm, Part, read_form
from gateway.sandbox.simulator.validation.rules import (
    ApiError,
    Parameters,
    Upload,
    bad_request,
)


async def read_parameters(
    request: web.Request, keep: Callable[[bytes], str]
) -> Parameters:
    """Read the parameters of a call; those of the query have priority over the body.

    Args:
        request: the HTTP request.
        keep: stores the content of an uploaded file and returns its id.

    Raises:
        ApiError: the body does not match its content type, or is too large.
    """
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError("Request Entity Too Large", 413) from None
    except web.RequestPayloadError:
        raise bad_request("can't read the body") from None
    content_type = request.headers.get("Content-Type", "")
    return read_body(content_type, body, keep) | dict(request.query)


def read_body(
    content_type: str, body: bytes, keep: Callable[[bytes], str]
) -> Parameters:
    """Read the parameters of a call from a body.

    A body that is neither JSON nor a form has no parameters.

    Args:
        content_type: the Content-Type header.
        body: the body.
        keep: stores the content of an uploaded file and returns its id.

    Raises:
        ApiError: the body does not match its content type.
    """
    kind = content_type.lower()
    if "multipart/form-data" in kind:
        return _form(content_type, body, keep)
    if "application/x-www-form-urlencoded" in kind:
        text = body.decode(errors="replace")
        return dict(reversed(parse_qsl(text, keep_blank_values=True)))
    return _object(body) if "application/json" in kind else {}


def _object(body: bytes) -> Parameters:
    # The real server treats invalid JSON as a call without parameters. It is a bug of
    # the caller, so report it here.
    try:
        read = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise bad_request("can't parse parameter value") from None
    if not isinstance(read, dict):
        raise bad_request("JSON object expected")
    return read


def _form(content_type: str, body: bytes, keep: Callable[[bytes], str]) -> Parameters:
    parameters: Parameters = {}
    try:
        for part in read_form(content_type, body):
            if part.name in parameters:
                continue  # the first one counts
            if part.file_name is None:
                parameters[part.name] = part.content.decode(errors="replace")
            else:
                parameters[part.name] = _upload(part, keep)
    except InvalidForm as fault:
        raise bad_request(str(fault)) from None
    return parameters


def _upload(part: Part, keep: Callable[[bytes], str]) -> Upload:
    return Upload(
        keep(part.content),
        part.file_name or "",
        part.content_type,
        len(part.content),
        read_size(part.content),
    )


def error_body(refused: ApiError) -> Parameters:
    """Return the JSON object with which the Bot API reports an error."""
    answer: Parameters = {
        "ok": False,
        "error_code": refused.status,
        "description": refused.description,
    }
    return answer | ({"parameters": refused.parameters} if refused.parameters else {})


def response(answer: Parameters, body: str | None = None) -> web.Response:
    """Return the HTTP response for a result or an error.

    Args:
        answer: the JSON object, which decides the status.
        body: a text to send instead; None to send the object.
    """
    status = answer.get("error_code", 200)
    if body is not None:
        return web.Response(status=status, text=body)
    seconds = answer.get("parameters", {}).get("retry_after")
    return web.Response(
        status=status,
        body=msgspec.json.encode(answer),
        content_type="application/json",
        headers=None if seconds is None else {"Retry-After": str(seconds)},
    )
