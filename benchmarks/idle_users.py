"""What idle users take in Redis, and what is left of them in the end."""

from benchmarks.children import until
from benchmarks.seeding import serve
from benchmarks.tables import print_table
from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.signatures import StoreSignatures
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS

USERS = 50_000
ALLOWED_BYTES = 500

_FIRST_USER = 4_000_000_000
_SHORTEN = """
local left, without = 0, 0
for _, key in ipairs(redis.call('KEYS', '*')) do
  if string.find(key, ':s:') then
    left = math.max(left, redis.call('TTL', key))
    redis.call('PEXPIRE', key, 500)
  else without = without + 1 end
end
return left .. ' ' .. without
"""


async def idle_users(server: RedisServer) -> list[str]:
    """Measure and print. Gives what exceeds its limit."""
    clock, scripts = SystemClock(), load_scripts()
    signatures = StoreSignatures(["the secret of this benchmark"])
    async with (
        BackgroundTasks() as background,
        ClusterClient(
            server.url, scripts.sources, clock, background=background
        ) as transport,
    ):
        mailboxes = RedisMailboxStore(
            transport, KEYS, scripts, clock, signatures, limit=64
        )
        rows, exceeded = await _measure(server, mailboxes)
    print(f"\nIn Redis, of {USERS:,} idle users ({ALLOWED_BYTES} bytes allowed)\n")
    heads = ["ids remembered", "bytes each", "keys each", "longest life in s"]
    print_table([*heads, "keys without", "keys left after it"], rows)
    return exceeded


async def _measure(
    server: RedisServer, mailboxes: RedisMailboxStore
) -> tuple[list[list[object]], list[str]]:
    """Return the rows of the table, and what exceeds its limit."""
    rows: list[list[object]] = []
    exceeded = []
    await serve(mailboxes, first_user=_FIRST_USER, users=1, remembered=1)  # scripts
    for updates in (1, 64):
        server.ask("FLUSHALL")
        start = _used(server)
        await serve(mailboxes, first_user=_FIRST_USER, users=USERS, remembered=updates)
        each = (_used(server) - start) / USERS
        keys = _keys(server) / USERS
        ask = f"EVAL {_quoted(_SHORTEN)} 0"
        longest, without = map(int, server.ask(ask).split(b"\r\n")[1].split())
        await until(lambda: _gone(server), "the end of all states")
        rows.append([updates, round(each), keys, longest, without, _keys(server)])
        if each > ALLOWED_BYTES or keys != 1 or longest > STATE_TTL or without:
            exceeded.append(f"idle users in Redis: {rows[-1]}")
    return rows, exceeded


async def _gone(server: RedisServer) -> bool:
    return not _keys(server)


def _used(server: RedisServer) -> int:
    info = server.ask("INFO memory")
    return int(info.partition(b"used_memory:")[2].split()[0])


def _keys(server: RedisServer) -> int:
    return int(server.ask("DBSIZE")[1:])


def _quoted(text: str) -> str:
    return '"' + text.replace("\n", " ").strip() + '"'
