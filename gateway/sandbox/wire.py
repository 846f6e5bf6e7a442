"""The Bot API's form over HTTP: parameters come in, answers go out."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from gateway.sandbox.rules import Parameters, Refused, Upload, bad


async def read_parameters(
    request: web.Request, keep: Callable[[bytes], str]
) -> Parameters:
    """Read the parameters in the query and in the body; the body wins.

    Args:
        request: the call.
        keep: keeps a file that came along, and gives its id.

    Raises:
        Refused: the body is not what its content type says, or too large.
    """
    parameters: Parameters = dict(request.query)
    try:
        if request.content_type == "application/json":
            return parameters | _object(await request.read())
        posted = await request.post()
    except web.HTTPRequestEntityTooLarge:
        raise Refused("Request Entity Too Large", 413) from None
    for name, value in posted.items():
        if isinstance(value, str):
            parameters[name] = value
        elif isinstance(value, web.FileField):
            parameters[name] = _upload(value, keep)
    return parameters


def _object(body: bytes) -> Parameters:
    try:
        read = msgspec.json.decode(body or b"{}")
    except msgspec.DecodeError:
        raise bad("can't parse parameter value") from None
    if not isinstance(read, dict):
        raise bad("JSON object expected")
    return read


def _upload(field: web.FileField, keep: Callable[[bytes], str]) -> Upload:
    with field.file as file:
        content = file.read()
    return Upload(keep(content), field.filename, field.content_type, len(content))


def refusal(refused: Refused) -> Parameters:
    """Make the answer that tells of an error."""
    answer: Parameters = {
        "ok": False,
        "error_code": refused.status,
        "description": refused.description,
    }
    return answer | ({"parameters": refused.parameters} if refused.parameters else {})


def response(answer: Parameters, body: str | None = None) -> web.Response:
    """Turn an answer into HTTP, or send this body in its place."""
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
