"""Who may talk to the sandbox: programs and pages of this machine's own address.

A page from elsewhere, open in the same browser, could otherwise steer the sandbox, and
with a name that it lets point to loopback (DNS rebinding) it could also read from it.
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
    """Answer 403 to what does not come from here."""
    if fault := _fault(request):
        return web.json_response({"error": fault}, status=403)
    return await handler(request)


def reject_other_hosts(pages: Mapping[Key, Page]) -> dict[Key, Page]:
    """Let the sandbox's gateway, too, answer 403 to other names than loopback's."""
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
    # Browsers leave Origin out where a page elsewhere has an image or a link here. A
    # link to the page itself may be followed from anywhere.
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
