"""The gateway's side: finds the sixth service and calls it at the given target.

Only what the gateway itself runs at its start is used. Prints what came of it as JSON.
"""

import asyncio
import json
import sys

from gateway.domain.update import Update
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels
from gateway.services.contracts.installed_stubs import discover_services
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import build_route_table
from tests.factories import build_button_press, build_command

UPDATES: dict[str, Update] = {
    "/invoice 42": build_command("invoice", "42"),
    "/invoice": build_command("invoice"),
    "/invoice many": build_command("invoice", "many"),
    "PAY:42:card": build_button_press("PAY:42:card"),
    "PAY:42:shells": build_button_press("PAY:42:shells"),
}


async def answer(dispatch: GrpcServiceRouter, update: Update) -> str | None:
    """Return the text of the reply; None if there is no route."""
    match = dispatch.route(update)
    return (await match.call("user-7")).messages[0].text if match else None


async def main(target: str) -> None:
    """Try all updates."""
    table = build_route_table(discover_services())
    async with ServiceChannels(dict.fromkeys(table.service_names, target)) as channels:
        limits = dict.fromkeys(table.service_names, CallLimits(5.0, 5.0))
        dispatch = GrpcServiceRouter(table, channels, limits)
        answers = {
            text: await answer(dispatch, update) for text, update in UPDATES.items()
        }
    names, menu = table.route_names, table.menu_commands
    json.dump({"names": names, "menu": menu, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
