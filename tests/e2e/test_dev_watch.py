"""`telegram-gateway dev --watch`: changes of code and contracts take effect."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.sandbox.server import Simulator
from tests.support.gateway_harness import TOKEN
from tests.support.process import program
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    serving_foreign,
)
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT

USER = 1001

SERVICE = """
import os
from concurrent import futures

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as messages
from botgateway.conversation.v1 import conversation_service_pb2_grpc as rpcs

assert "TELEGRAM_BOT_TOKEN" not in os.environ


class Conversation(rpcs.ConversationServiceServicer):
    def SendMessage(self, request, context):
        reply = Reply(messages=[OutgoingMessage(text="version")])
        return messages.SendMessageResponse(reply=reply)


server = grpc.server(futures.ThreadPoolExecutor(1))
rpcs.add_ConversationServiceServicer_to_server(Conversation(), server)
assert server.add_insecure_port("127.0.0.1:" + os.environ["PORT"])
server.start()
server.wait_for_termination()
"""


class Developer:
    """Runs `dev`, writes to the bot, and reads the terminal."""

    def __init__(
        self, process: asyncio.subprocess.Process, simulator: Simulator
    ) -> None:
        self.process = process
        self._simulator = simulator

    async def reads(self, text: str) -> None:
        """Read the terminal until a line has the text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT):
            while text.encode() not in await self.process.stdout.readline():
                assert not self.process.stdout.at_eof()

    async def gets(self, reply: str, text: str = "hi") -> None:
        """Write to the bot until it replies so: a restart takes a moment."""
        async with asyncio.timeout(LIMIT):
            while True:
                before = len(self._simulator.messages(USER))
                await self._simulator.user_actions.say(USER, text)
                while len(self._simulator.messages(USER)) < before + 2:
                    await asyncio.sleep(0.01)
                if reply in self._simulator.messages(USER)[-1]["text"]:
                    return


@asynccontextmanager
async def developing(
    *options: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Developer]:
    """Run `dev --watch`, and end it by Ctrl-C; nothing may stay behind."""
    simulator = Simulator(TOKEN)
    port, ops_port, page_port, samples_port = map(str, free_ports(4))
    ports = ("--page-port", page_port, "--samples-port", samples_port)
    async with simulator.serve() as api_url:
        chosen = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": api_url,
            "PORT": port,
            "OPS_PORT": ops_port,
            "RATE_LIMIT_REQUESTS": "100000",
            **(settings or {}),
        }
        command = ("dev", "--watch", *ports, *options)
        async with program(*command, settings=chosen) as process:
            yield Developer(process, simulator)
            process.send_signal(signal.SIGINT)
            await process.communicate()
            assert process.returncode == 0


async def test_a_service_is_started_again_when_its_code_changes(tmp_path: Path) -> None:
    """Also after it could not start."""
    server = tmp_path / "server.py"
    server.write_text(SERVICE.replace("version", "version 1"))
    run = f"conversation@{tmp_path}={sys.executable} server.py"
    async with developing("--run", run) as developer:
        await developer.gets("version 1")
        server.write_text(SERVICE.replace("version", "version 22"))
        await developer.reads("service conversation: server.py changed")
        await developer.gets("version 22")
        server.write_text("raise SystemExit(3)")
        await developer.reads("service conversation: ended with code 3")
        server.write_text(SERVICE.replace("version", "version 333"))
        await developer.gets("version 333")


async def test_the_gateway_is_started_again_when_a_contract_changes(
    tmp_path: Path,
) -> None:
    """An invalid one changes nothing."""
    path = compile_descriptor_set(tmp_path)
    content = path.read_bytes()
    async with serving_foreign(ForeignService(path)) as target:
        settings = {"CONTRACTS": f"builtin,{path}", "BILLING_TARGET": target}
        async with developing(settings=settings) as developer:
            await developer.gets("An invoice is a bill.", "/explain")
            path.write_bytes(b"no set")
            await developer.reads("gateway: the contracts are invalid")
            await developer.gets("An invoice is a bill.", "/explain")
            path.write_bytes(content.replace(b"/explain", b"/reasons"))
            await developer.reads("gateway: billing.binpb changed")
            await developer.gets("An invoice is a bill.", "/reasons")


async def test_updates_that_come_during_a_restart_are_answered(tmp_path: Path) -> None:
    path = compile_descriptor_set(tmp_path)
    content = path.read_bytes()
    async with serving_foreign(ForeignService(path)) as target:
        settings = {"CONTRACTS": f"builtin,{path}", "BILLING_TARGET": target}
        async with developing(settings=settings) as developer:
            await developer.gets("You said: hi")
            path.write_bytes(content.replace(b"/explain", b"/reasons"))
            await developer.reads("gateway: billing.binpb changed")
            await developer.gets("You said: while it restarts", "while it restarts")
