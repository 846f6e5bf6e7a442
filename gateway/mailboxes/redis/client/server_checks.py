"""Checks whether the settings of a Redis server put accepted updates at risk."""

import asyncio
import contextlib

from msgspec import Struct
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.connection_factory import ConnectionFactory
from gateway.mailboxes.redis.client.pipeline import BATCH_TIMEOUT_SECONDS
from gateway.mailboxes.redis.client.refusals import (
    explain_failed_connection,
    explain_refusal,
)

MIN_REDIS_VERSION = (7, 0)
"""The first version in which an error inside a script keeps its error code."""


class ServerInspection(Struct, frozen=True):
    """What was found in the settings of a Redis server, for an operator to read.

    Attributes:
        description: the server's version and role, and how it keeps data, in words.
        warnings: one line for each setting that puts accepted updates at risk.
    """

    description: str
    warnings: list[str]


async def inspect_server(make_connection: ConnectionFactory) -> ServerInspection:
    """Connect to a server, read its settings, and disconnect. Changes nothing.

    Args:
        make_connection: makes a connection object for the server.

    Raises:
        StoreUnavailable: the server does not answer within `BATCH_TIMEOUT_SECONDS`, or
            refuses the connection. The message says what to do.
    """
    connection = make_connection()
    try:
        async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            await connection.send_command("INFO")
            settings = _parse_info(await connection.read_response())
            await connection.send_command("CONFIG", "GET", "appendfsync")
            # Hosted servers often disable CONFIG.
            with contextlib.suppress(ResponseError, ValueError):
                _, settings["appendfsync"] = map(
                    _decode, await connection.read_response()
                )
    except NoPermissionError:
        warning = (
            "Redis permits no INFO: the gateway cannot notice that Redis has"
            " restarted and would not replay updates that were lost; permit INFO"
        )
        return ServerInspection("Redis answers", [warning])
    except (RedisError, OSError) as error:
        problem = explain_refusal(error) or explain_failed_connection(error)
        raise StoreUnavailable(problem) from None
    finally:
        await connection.disconnect()
    return ServerInspection(_describe(settings), _list_warnings(settings))


def _describe(settings: dict[str, str]) -> str:
    role = "a replica" if settings.get("role") == "slave" else "a primary"
    file = f"appendfsync {settings.get('appendfsync', 'unknown')}"
    if settings.get("aof_enabled") != "1":
        file = "no append-only file"
    return (
        f"Redis {settings.get('redis_version', '')}, {role}, {file},"
        f" maxmemory-policy {settings.get('maxmemory_policy', 'unknown')}"
    )


def _list_warnings(settings: dict[str, str]) -> list[str]:
    warnings = []
    version = settings.get("redis_version", "0.0")
    if tuple(map(int, version.split(".")[:2])) < MIN_REDIS_VERSION:
        warnings.append(f"Redis {version} is older than 7.0 and not supported")
    policy = settings.get("maxmemory_policy", "")
    if policy != "noeviction":
        warnings.append(
            f"Redis evicts keys when it is full (maxmemory-policy {policy}): accepted"
            " updates can be lost; set noeviction"
        )
    if settings.get("aof_enabled") != "1":
        warnings.append(
            "Redis writes no append-only file: a restart of Redis loses accepted"
            " updates; set appendonly yes"
        )
    elif settings.get("appendfsync") == "no":
        warnings.append(
            "Redis does not sync its append-only file: a crash of its host can lose"
            " half a minute of updates; set appendfsync everysec"
        )
    if settings.get("role") == "slave":
        warnings.append("Redis is a replica and accepts no updates")
    return warnings


def _parse_info(reply: bytes) -> dict[str, str]:
    lines = _decode(reply).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _decode(value: bytes) -> str:
    return value.decode()
