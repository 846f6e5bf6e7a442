"""Contracts that change while a gateway runs."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from redis.asyncio import Redis

from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import Process, run, serving_process
from tests.support.redis_servers import RedisServer
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    serving_foreign,
)
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found

UNKNOWN = "I don't know that one. Send /help to see what I can do."
EXPLAINED = "An invoice is a bill."
GATEWAY = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_WEBHOOK_SECRET": SECRET}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Compile the contract of another team, outside of the folder of the gateway."""
    (tmp_path / "contracts").mkdir()
    return compile_descriptor_set(tmp_path)


class Gateway:
    """A gateway that looks at a folder of contracts."""

    def __init__(self, process: Process, ops_port: int) -> None:
        self.process = process
        self._ops_url = f"http://127.0.0.1:{ops_port}"
        self._updates = 0

    @property
    def commands(self) -> list[str]:
        """The menu at Telegram."""
        menus = [
            sent.parameters["commands"]
            for sent in self.process.simulator.sent
            if sent.method == "setMyCommands"
        ]
        return [it["command"] for it in menus[-1]] if menus else []

    async def ask(self, text: str, user: int = 7) -> str:
        """Say something; gives the text of the answer."""
        messages = self.process.simulator.messages
        before = len(messages(user))
        self._updates += 1
        await self.process.say(self._updates, user=user, text=text)
        await wait_until(lambda: len(messages(user)) > before)
        return str(messages(user)[-1]["text"])

    async def get(self, page: str) -> str:
        """Get a page for operators."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._ops_url}{page}") as response,
        ):
            return await response.text()

    async def accepts_updates(self) -> bool:
        """Return whether a worker serves the port for updates."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.process.url}/health"),
            ):
                return True
        except aiohttp.ClientError:
            return False

    async def answers(self, text: str, expected: str) -> bool:
        """Return whether a text is answered as expected."""
        return await self.ask(text) == expected


@asynccontextmanager
async def serving(
    path: Path, **settings: str
) -> AsyncIterator[tuple[Gateway, ForeignService]]:
    """Run a gateway that looks at a folder, and the service of a contract."""
    service = ForeignService(path)
    [ops_port] = free_ports(1)
    async with serving_foreign(service) as target:
        own = {
            "CONTRACTS": f"builtin,{path.parent / 'contracts'}",
            "BILLING_TARGET": target,
            "OPS_PORT": str(ops_port),
        }
        async with serving_process(own | settings) as process:
            yield Gateway(process, ops_port), service


def put(path: Path, without: str = "", name: str = "billing.binpb") -> Path:
    """Put a set into the folder, as a deployment does; leave out one rpc."""
    files = FileDescriptorSet.FromString(path.read_bytes())
    for file in files.file:
        for service in file.service:
            kept = [it for it in service.method if it.name != without]
            copies = [type(it).FromString(it.SerializeToString()) for it in kept]
            del service.method[:]
            service.method.extend(copies)
    target = path.parent / "contracts" / name
    unfinished = target.with_name(f".{name}")
    unfinished.write_bytes(files.SerializeToString())
    unfinished.replace(target)
    return target


async def test_new_routes_are_served_without_a_restart(path: Path) -> None:
    """Also in the menu, in /help and in the metrics, and without a lost update."""
    put(path, without="GetInvoice")
    async with serving(path) as (gateway, service):
        assert await gateway.ask("/invoice 1") == UNKNOWN
        before = await gateway.get("/metrics")
        put(path)
        answer = "invoice 2 of 7, asked as /invoice 2"
        await wait_until_found(lambda: gateway.answers("/invoice 2", answer))
        assert await gateway.ask("/explain") == EXPLAINED
        assert await gateway.ask("hi") == "echo: hi"
        assert "/invoice - Show an invoice" in await gateway.ask("/help")
        await wait_until(lambda: "invoice" in gateway.commands)
        after = await gateway.get("/metrics")
        digests = [read_digest(page) for page in (before, after)]
        assert digests[0] != digests[1]
    assert service.asked[0][0] == "GetInvoice"


def read_digest(metrics: str) -> str:
    """Return the digest of the contracts in the metrics."""
    [line] = [it for it in metrics.splitlines() if it.startswith("gateway_contracts_i")]
    return line.partition('"')[2].partition('"')[0]


async def test_a_field_that_a_request_gained_is_filled(path: Path) -> None:
    """The triggers are the same as before."""
    files = FileDescriptorSet.FromString(path.read_bytes())
    [request] = [
        message
        for file in files.file
        for message in file.message_type
        if message.name == "GetInvoiceRequest"
    ]
    kept = [type(it).FromString(it.SerializeToString()) for it in request.field]
    del request.field[:]
    request.field.extend(it for it in kept if it.name != "typed")
    put(path).write_bytes(files.SerializeToString())
    async with serving(path) as (gateway, _):
        assert await gateway.ask("/invoice 2") == "invoice 2 of 7, asked as"
        put(path)
        answer = "invoice 2 of 7, asked as /invoice 2"
        await wait_until_found(lambda: gateway.answers("/invoice 2", answer))


async def test_a_call_that_runs_ends_as_it_began(path: Path) -> None:
    """A turn keeps the table with which it began, and the user gets its answer."""
    put(path)
    async with serving(path, BILLING_TIMEOUT="3600") as (gateway, service):
        service.may_answer.clear()
        await gateway.process.say(100, user=8, text="/invoice 1")
        await wait_until(lambda: bool(service.asked))
        before = read_digest(await gateway.get("/metrics"))

        async def has_changed() -> bool:
            return read_digest(await gateway.get("/metrics")) != before

        (path.parent / "contracts" / "billing.allow-removal").touch()
        put(path, without="GetInvoice")
        await wait_until_found(has_changed)
        assert await gateway.ask("/invoice 2") == UNKNOWN
        service.may_answer.set()
        messages = gateway.process.simulator.messages
        await wait_until(lambda: bool(messages(8)))
        assert messages(8)[0]["text"].startswith("invoice 1 of 8")


async def test_a_bad_set_changes_nothing_and_is_told(path: Path) -> None:
    """Until it is a good one again."""
    target = put(path)
    async with serving(path) as (gateway, _):
        good = target.read_bytes()
        target.write_bytes(good[:-100])

        async def is_refused() -> bool:
            return "is not a descriptor set" in await gateway.get("/health")

        await wait_until_found(is_refused)
        assert '"status":"degraded"' in await gateway.get("/health")
        assert "gateway_contracts_refused 1.0" in await gateway.get("/metrics")
        assert await gateway.ask("/explain") == EXPLAINED
        target.write_bytes(good)

        async def is_accepted() -> bool:
            return "contracts refused" not in await gateway.get("/health")

        await wait_until_found(is_accepted)
        assert "gateway_contracts_refused 0.0" in await gateway.get("/metrics")


async def test_triggers_disappear_with_permission_only(path: Path) -> None:
    """Old buttons live for ever."""
    target = put(path)
    async with serving(path) as (gateway, _):
        put(path, without="Explain")
        permission = target.with_name("billing.allow-removal")

        async def is_refused() -> bool:
            health = await gateway.get("/health")
            return f"would be gone: {permission} permits that" in health

        await wait_until_found(is_refused)
        assert await gateway.ask("/explain") == EXPLAINED
        permission.write_text("0" * 64)  # of another set
        assert await is_refused()
        # `apply` permits exactly the set that it writes.
        changed = path.with_name("changed")
        changed.mkdir()
        changed = target.rename(changed / "billing.binpb")
        put(path)
        folder = str(target.parent)
        command = ("contracts", "apply", str(changed), "--to", folder)
        code, _, errors = await run(*command)
        assert code == 2
        assert "/explain" in errors
        assert "--allow-removal permits that" in errors
        code, _, _ = await run(*command, "--allow-removal")
        assert code == 0
        await wait_until_found(lambda: gateway.answers("/explain", UNKNOWN))


async def test_a_swapped_link_is_noticed(path: Path) -> None:
    """Kubernetes changes a ConfigMap by one link to a folder."""
    folder = path.parent / "contracts"
    for name, without in (("..1", "Explain"), ("..2", "")):
        (folder / name).mkdir()
        put(path, without).rename(folder / name / "billing.binpb")
    (folder / "..data").symlink_to("..1")
    (folder / "billing.binpb").symlink_to("..data/billing.binpb")
    async with serving(path) as (gateway, _):
        assert await gateway.ask("/explain") == UNKNOWN
        (folder / "..next").symlink_to("..2")
        (folder / "..next").rename(folder / "..data")
        await wait_until_found(lambda: gateway.answers("/explain", EXPLAINED))


async def test_a_new_service_needs_a_target(path: Path) -> None:
    """Without one its contract is refused, and taken up once it has one."""
    put(path)
    services = path.with_name("services.yaml")
    services.write_text("")
    async with serving(path, SERVICES_FILE=str(services)) as (gateway, _):
        put_service(path, "Support", "/support")

        async def is_refused() -> bool:
            return "SUPPORT_TARGET: is not set" in await gateway.get("/health")

        await wait_until_found(is_refused)
        services.write_text("support: {target: '127.0.0.1:1'}\n")

        async def is_accepted() -> bool:
            return "/support - Ask" in await gateway.ask("/help")

        await wait_until_found(is_accepted)


def put_service(path: Path, name: str, command: str) -> None:
    """Put the contract of another service into the folder."""
    proto = path.with_name(f"{name.lower()}.proto")
    proto.write_text(
        'syntax = "proto3"; package acme.other.v1;'
        'import "botgateway/chat/v1/context.proto";'
        'import "botgateway/chat/v1/reply.proto";'
        'import "botgateway/route/v1/route.proto";'
        f"service {name}Service {{ rpc Ask(AskRequest) returns (AskResponse) {{"
        f'option (botgateway.route.v1.route) = {{command: "{command}"'
        f' description: "Ask"}}; }} }}'
        "message AskRequest { botgateway.chat.v1.RequestContext context = 1; }"
        "message AskResponse { botgateway.chat.v1.Reply reply = 1; }"
    )
    compiled = compile_descriptor_set(path.parent, proto.name, root=path.parent)
    compiled.rename(path.parent / "contracts" / compiled.name)


async def test_all_workers_take_up_a_change(path: Path) -> None:
    """Each looks at the files, and SIGHUP has them look at once."""
    put(path, without="Explain")
    with running_redis(path.parent) as url:
        settings = {"REDIS_URL": url, "WORKERS": "2"}
        async with serving(path, **settings) as (gateway, _):
            put(path)
            pid = gateway.process.process.pid
            os.kill(pid, signal.SIGHUP)

            users = range(20, 28)

            async def is_live_in_all_workers() -> bool:
                answers = [await gateway.ask("/explain", user) for user in users]
                return set(answers) == {EXPLAINED}

            await wait_until_found(is_live_in_all_workers)


@contextmanager
def running_redis(directory: Path) -> Iterator[str]:
    """Run a Redis; gives its URL."""
    server = RedisServer(directory)
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


async def test_a_gateway_that_restarts_goes_on_with_the_accepted_contracts(
    path: Path,
) -> None:
    """It tells why it refuses those in the folder, and takes up good ones."""
    target = put(path)
    history = str(path.with_name("history"))
    async with serving(path, CONTRACTS_HISTORY=history) as (gateway, _):
        assert await gateway.ask("/explain") == EXPLAINED
    target.write_bytes(b"")
    async with serving(path, CONTRACTS_HISTORY=history) as (gateway, _):
        assert await gateway.ask("/explain") == EXPLAINED
        assert "billing.binpb: has no files" in await gateway.get("/health")
        assert await generation_of(gateway) == 1
        put(path, without="Pay")

        async def would_lose_a_button() -> bool:
            return "PAY:{number}:{method}" in await gateway.get("/health")

        await wait_until_found(would_lose_a_button)
    async with serving(path, CONTRACTS_HISTORY=history) as (gateway, _):
        assert await would_lose_a_button()
        assert await generation_of(gateway) == 1
        (path.parent / "contracts" / "billing.allow-removal").touch()
        await wait_until_found(lambda: serves(gateway, 2))
        assert "contracts" not in await problems_of(gateway)


async def generation_of(gateway: Gateway) -> int:
    """Return the number of the generation that all workers serve, or 0."""
    words = json.loads(await gateway.get("/health"))["contracts"].split()
    return int(words[1]) if len(words) == 2 else 0


async def serves(gateway: Gateway, generation: int) -> bool:
    """Return whether all workers serve this generation."""
    return await generation_of(gateway) == generation


async def all_serve(gateways: Iterable[Gateway], generation: int) -> bool:
    """Return whether all workers of all gateways serve this generation."""
    return all([await serves(gateway, generation) for gateway in gateways])


async def problems_of(gateway: Gateway) -> str:
    """Return the problems that an operator has to fix."""
    return str(json.loads(await gateway.get("/health"))["problems"])


async def test_two_machines_serve_the_same_contracts(path: Path) -> None:
    """Whichever has the new files first; also after a rollback and a restart."""
    other_path = path.parent / "other" / path.name
    (other_path.parent / "contracts").mkdir(parents=True)
    other_path.write_bytes(path.read_bytes())
    for it in (path, other_path):
        put(it, without="Explain")
    with running_redis(path.parent) as url:
        settings = {"REDIS_URL": url}
        async with (
            serving(path, **settings, WORKERS="2") as (one, _),
            serving(other_path, **settings) as (two, _),
        ):
            await wait_until_found(lambda: all_serve([one, two], 1))
            put(path)
            await wait_until_found(lambda: all_serve([one, two], 2))
            assert await two.ask("/explain") == EXPLAINED
            assert await two.ask("/explain", user=8) == EXPLAINED
            assert "contracts" not in await problems_of(two)

            command = ("contracts", "rollback")
            environment = settings | GATEWAY
            code, output, errors = await run(*command, settings=environment)
            assert (code, errors) == (0, "Generation 3 is served now.\n")
            assert "/invoice" in output
            assert "/explain" not in output
            await wait_until_found(lambda: all_serve([one, two], 3))
            assert await one.ask("/explain", user=9) == UNKNOWN
            # The files of the generation that was rolled back arrive late.
            put(other_path)
            await wait_until_found(
                lambda: contains(two, "the files are older than generation 3")
            )
        async with serving(path, **settings) as (one, _):
            assert await one.ask("/explain", user=10) == UNKNOWN
            assert await generation_of(one) == 3
            code, output, _ = await run("contracts", "history", settings=environment)
            assert [line.split()[0] for line in output.splitlines()] == ["3", "2", "1"]
            code, _, _ = await run("contracts", "rollback", "2", settings=environment)
            assert code == 0
            await wait_until_found(lambda: serves(one, 4))
            assert await one.ask("/explain", user=11) == EXPLAINED
            assert await problems_of(one) == "[]"
            code, _, errors = await run(*command, "99", settings=environment)
            assert code == 2
            assert "no generation 99 is kept" in errors


async def contains(gateway: Gateway, problem: str) -> bool:
    """Return whether an operator is told of a problem."""
    return problem in await problems_of(gateway)


async def test_a_worker_that_restarts_serves_the_accepted_contracts(
    path: Path,
) -> None:
    """A refused set in the folder does not keep it from its start."""
    target = put(path)
    with running_redis(path.parent) as url:
        settings = {"REDIS_URL": url, "WORKERS": "2"}
        async with serving(path, **settings) as (gateway, _):
            await wait_until_found(lambda: serves(gateway, 1))
            target.write_bytes(b"")
            await wait_until_found(lambda: contains(gateway, "has no files"))
            for pid in children_of(gateway.process.process.pid):
                os.kill(pid, signal.SIGKILL)

            async def have_restarted() -> bool:
                page = await gateway.get("/metrics")
                return (
                    page.count("gateway_worker_restarts_total{")
                    == 2
                    == sum(
                        line.startswith("gateway_worker_restarts_total{")
                        and line.endswith(" 1.0")
                        for line in page.splitlines()
                    )
                )

            await wait_until_found(have_restarted)
            await wait_until_found(lambda: serves(gateway, 1))
            await wait_until_found(gateway.accepts_updates)
            assert await gateway.ask("/explain") == EXPLAINED
            assert "has no files" in await problems_of(gateway)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in children.split()]


async def test_a_machine_without_a_target_goes_on_with_the_contracts_before(
    path: Path,
) -> None:
    """It tells what it needs, and refuses to lose what the others serve."""
    put(path)
    other_path = path.parent / "other" / path.name
    (other_path.parent / "contracts").mkdir(parents=True)
    other_path.write_bytes(path.read_bytes())
    put(other_path)
    services = path.with_name("services.yaml")
    services.write_text("")
    with running_redis(path.parent) as url:
        async with (
            serving(path, REDIS_URL=url, SUPPORT_TARGET="127.0.0.1:1") as (one, _),
            serving(other_path, REDIS_URL=url, SERVICES_FILE=str(services)) as (two, _),
        ):
            await wait_until_found(lambda: all_serve([one, two], 1))
            put_service(path, "Support", "/support")
            await wait_until_found(lambda: serves(one, 2))
            missing = "generation 2: SUPPORT_TARGET: is not set"
            await wait_until_found(lambda: contains(two, missing))
            assert await generation_of(two) == 1
            assert await two.ask("/explain") == EXPLAINED
            services.write_text("tickets: {target: '127.0.0.1:1'}\n")
            put_service(other_path, "Tickets", "/tickets")
            lost = "/support -> acme.other.v1.SupportService.Ask would be gone"
            await wait_until_found(lambda: contains(two, lost))
            (other_path.parent / "contracts" / "tickets.binpb").unlink()
            services.write_text("support: {target: '127.0.0.1:1'}\n")
            await wait_until_found(lambda: all_serve([one, two], 2))


async def test_an_emptied_redis_gets_the_contracts_back(path: Path) -> None:
    put(path)
    with running_redis(path.parent) as url:
        async with serving(path, REDIS_URL=url) as (gateway, _):
            await wait_until_found(lambda: serves(gateway, 1))
            async with Redis.from_url(url) as client:
                await client.delete("tg:{0}:contracts")

                async def is_back() -> bool:
                    return await client.hget("tg:{0}:contracts", "current") == b"1"

                await wait_until_found(is_back)


async def test_without_a_history_there_is_no_rollback() -> None:
    code, _, errors = await run("contracts", "rollback", settings=GATEWAY)
    assert code == 2
    assert "neither REDIS_URL nor CONTRACTS_HISTORY is set" in errors
