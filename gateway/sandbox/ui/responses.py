"""Decodes posted JSON, and builds JSON responses, which browsers must not keep."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.sandbox.simulator.actions.message_builder import InvalidInput

Action = Callable[..., Awaitable[object]]
"""Takes the fields of a form as keywords and returns the content of the response."""
_HEADERS = {"Cache-Control": "no-store"}


def json_response(content: object) -> web.Response:
    """Return a response with some content as JSON."""
    return web.Response(
        body=msgspec.json.encode(content),
        content_type="application/json",
        headers=_HEADERS,
    )


def json_error(reason: str, status: int = 400) -> web.Response:
    """Return a response with an error as JSON.

    Args:
        reason: one line for a person.
        status: the HTTP status.
    """
    return web.json_response({"error": reason}, status=status, headers=_HEADERS)


def json_handler(
    form: type[Struct], act: Action
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a request handler that decodes posted JSON and performs an action.

    The handler responds with the action's result, or with 400 if the input is invalid.

    Args:
        form: the type that the JSON is decoded to.
        act: called with the fields of the form as keywords; may raise InvalidInput.
    """

    async def handle(request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read() or b"{}", type=form)
            return json_response(await act(**structs.asdict(given)))
        except (InvalidInput, msgspec.DecodeError) as error:
            return json_error(str(error))

    return handle
