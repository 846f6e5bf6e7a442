"""Opens the history of the contracts for a command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.contracts.local_history import choose_history
from gateway.domain.contract_history import ContractHistory
from gateway.mailboxes.contract_history import open_redis_history
from gateway.mailboxes.signatures import StoreSignatures


@asynccontextmanager
async def open_history(settings: Settings) -> AsyncIterator[ContractHistory]:
    """Open the history of contracts that gateways with these settings use.

    If Redis does not answer, the methods of the history raise StoreUnavailable.
    """
    if settings.store_url is None:
        yield choose_history(None, settings.contracts_history)
        return
    async with open_redis_history(
        settings.store_url,
        settings.redis_key_prefix,
        StoreSignatures(settings.store_secrets),
        SystemClock(),
    ) as history:
        yield history
