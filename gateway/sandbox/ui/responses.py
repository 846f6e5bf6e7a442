"""JSON responses of the page's endpoints; browsers must not keep them."""

import msgspec
from aiohttp import web

_HEADERS = {"Cache-Control": "no-store"}


def json_response(content: object) -> web.Response:
    """Return content as JSON."""
    return web.Response(
        body=msgspec.json.encode(content),
        content_type="application/json",
        headers=_HEADERS,
    )


def json_error(reason: str, status: int = 400) -> web.Response:
    """Return an error as JSON.

    Args:
        reason: one line for a person.
        status: the HTTP status.
    """
    return web.json_response({"error": reason}, status=status, headers=_HEADERS)
