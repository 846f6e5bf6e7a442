"""Replaces the routes of a running gateway, and the channels and bots that use them."""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.bots.bot import BotFactory
from gateway.bots.composition import RunningBots
from gateway.config.services import ServiceSettings
from gateway.config.settings import load_services
from gateway.contracts.loading import LoadedContracts, compute_digest
from gateway.contracts.removals import find_forbidden_removals
from gateway.domain.errors import ConfigurationError
from gateway.service_setup import get_own_tls_files
from gateway.services.channels import ServiceChannels
from gateway.services.diagnosis.monitor import ServiceMonitor, list_rpc_services
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable
from gateway.services.routing.table_diff import compare_tables

logger = logging.getLogger(__name__)


class PreparedServices(NamedTuple):
    """Contracts that were checked and can be served.

    Attributes:
        loaded: the contracts.
        services: the settings of the services that their routes call, by name.
        table: their routes; a service that is set to stream is called by its streaming
            rpcs.
    """

    loaded: LoadedContracts
    services: Mapping[str, ServiceSettings]
    table: RouteTable


MakeRouter = Callable[[RouteTable, Mapping[str, ServiceSettings]], GrpcServiceRouter]


class LiveServices:
    """The routes and services of a running gateway, which other contracts can replace.

    Args:
        table: the routes at the start, before streaming rpcs are chosen.
        services: the settings of the services, by name.
        channels: the open channels to the services.
        monitor: checks regularly whether the services can be called.
        factory: builds bots.
        bots: the bots that run.
        make_router: makes a router from a table with streaming rpcs chosen, and from
            the settings of the services.

    Attributes:
        digest: a hash of the served routes, by which gateways can be compared.
        generation: the number of the generation that is served; 0 while the contracts
            are not part of any.
    """

    def __init__(
        self,
        table: RouteTable,
        services: Mapping[str, ServiceSettings],
        channels: ServiceChannels,
        monitor: ServiceMonitor,
        *,
        factory: BotFactory,
        bots: RunningBots,
        make_router: MakeRouter,
    ) -> None:
        self._running = LoadedContracts(table, (), ())
        self._services = services
        self._channels = channels
        self._monitor = monitor
        self._factory = factory
        self._bots = bots
        self._make_router = make_router
        self.digest = compute_digest(table)
        self.generation = 0

    def prepare(
        self,
        loaded: LoadedContracts,
        *,
        before: LoadedContracts | None = None,
        may_remove: bool = False,
    ) -> PreparedServices:
        """Check that contracts can be served, and change nothing.

        The services that are called now keep their settings.

        Args:
            loaded: the contracts.
            before: the contracts whose triggers must not disappear without permission;
                None for those that are served.
            may_remove: whether triggers may disappear without permission.

        Returns:
            What `apply` needs to serve the contracts.

        Raises:
            ConfigurationError: the contracts cannot be served, for example because a
                service has no target; it has all problems.
        """
        problems: list[str] = []
        if not may_remove:
            problems += find_forbidden_removals(before or self._running, loaded)
        services = self._load_settings(loaded.table, problems)
        if problems:
            raise ConfigurationError(problems)
        table = choose_streaming(loaded.table, services)
        self._channels.load_credentials(get_own_tls_files(services))
        return PreparedServices(loaded, services, table)

    async def apply(self, prepared: PreparedServices, generation: int) -> None:
        """Serve contracts from now on. Running actors finish their update with the old.

        The channels, the router and all bots are replaced at once. Nothing but
        `generation` is changed if the routes are the same as before.

        Args:
            prepared: what `prepare` returned.
            generation: the number of the generation of the contracts.
        """
        self.generation = generation
        loaded, services, table = prepared
        digest = compute_digest(loaded.table)
        # Routes may differ in fields of which the difference of the tables is silent.
        if digest == self.digest:
            # Remember which files the routes are from.
            self._running = loaded
            return
        difference = compare_tables(self._running.table, loaded.table)
        # From here on nothing fails, and nothing waits: all of it changes at once.
        self._channels.replace(
            {name: it.target for name, it in services.items()},
            get_own_tls_files(services),
        )
        router = self._make_router(table, services)
        self._monitor.replace_services(list_rpc_services(table))
        self._factory.replace_routes(table, router)
        self._bots.rebuild()
        self._running, self._services = loaded, services
        self.digest = digest
        logger.info(
            "contracts_changed",
            extra={
                "digest": self.digest,
                "generation": generation,
                "added": list(difference.added),
                "removed": list(difference.removed),
                "changed": [*difference.changed, *difference.renumbered],
            },
        )
        for problem in loaded.warnings:
            logger.warning("contract_suspicious", extra={"problem": problem})
        self._bots.pollers.update()
        await self._channels.close_unused()

    def _load_settings(
        self, table: RouteTable, problems: list[str]
    ) -> dict[str, ServiceSettings]:
        """Return the settings of the services of a table."""
        known = {
            name: self._services[name]
            for name in table.service_names
            if name in self._services
        }
        try:
            new = load_services([it for it in table.service_names if it not in known])
        except ConfigurationError as error:
            problems += error.problems
            return known
        return known | new


def choose_streaming(
    table: RouteTable, services: Mapping[str, ServiceSettings]
) -> RouteTable:
    """Return the table with the streaming rpcs of the services that are set to stream.

    Args:
        table: the routes.
        services: the settings of the services, by name.

    Raises:
        ConfigurationError: a service that is set to stream has no streaming rpc.
    """
    return table.with_streaming([name for name, it in services.items() if it.streaming])
