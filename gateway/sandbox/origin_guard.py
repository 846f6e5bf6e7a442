"""Access control for the sandbox: only local programs and the sandbox's own pages.

Without it, a foreign page that is open in the same browser could control the sandbox,
and with a host name that resolves to loopback (DNS rebinding) it could also read from
it.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

_NEAR = frozenset({"same-origin", "none"})
_NO_LOOPBACK = "the Host header is not a loopback address"

Key = TypeVar("Key")
Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@web.middleware
async def reject_foreign_requests(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Respond with 403 to requests from foreign pages or for foreign hosts.

    This is a middleware of aiohttp. Links to the page "/" are allowed from anywhere.
    """
    if fault := _fault(request):
        return web.json_response({"error": fault}, status=403)
    return await handler(request)


def reject_other_hosts(pages: Mapping[Key, Page]) -> dict[Key, Page]:
    """Wrap the handlers of a gateway: respond with 403 to requests for other hosts.

    Only "localhost" and loopback addresses are allowed in the Host header.
    """
    return {key: _for_loopback(page) for key, page in pages.items()}


def _for_loopback(page: Page) -> Page:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if not _is_loopback(request.headers.get("Host", "")):
            return web.json_response({"error": _NO_LOOPBACK}, status=403)
        return await page(request)

    return answer


def _fault(request: web.Request) -> str:
    host = request.headers.get("Host", "")
    if not _is_loopback(host):
        return _NO_LOOPBACK
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        return "the request comes from a page elsewhere"
    # Browsers omit Origin for images and links on foreign pages. Links to the chat page
    # itself are allowed from anywhere.
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in _NEAR and request.path != "/":
        return "the request comes from a page elsewhere"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
