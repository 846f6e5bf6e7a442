"""Examines everything to which the settings make the gateway connect."""

import asyncio
import logging
from itertools import chain

import click

from gateway.cli.configuration import Configuration, load_configuration
from gateway.cli.doctor.bot import examine_bot
from gateway.cli.doctor.delivery import examine_delivery
from gateway.cli.doctor.files import examine_files
from gateway.cli.doctor.redis import examine_redis
from gateway.cli.doctor.report import (
    Finding,
    format_json,
    format_text,
    has_failed,
)
from gateway.cli.doctor.services import examine_services
from gateway.config.bots import BotConfig, load_bots
from gateway.service_setup import create_channels
from gateway.services.diagnosis.monitor import list_rpc_services


def run_doctor(*, as_json: bool) -> int:
    """Examine everything, print the findings and return the exit code.

    Args:
        as_json: True to print JSON for a program; False to print text for people.

    Returns:
        1 if something does not work, otherwise 0.

    Raises:
        ConfigurationError: the settings are invalid.
    """
    # A failure is a finding; the clients must not log it as well.
    logging.getLogger("gateway").addHandler(logging.NullHandler())
    configuration = load_configuration()
    findings = asyncio.run(examine(configuration))
    click.echo(format_json(findings) if as_json else format_text(findings))
    return 1 if has_failed(findings) else 0


async def examine(configuration: Configuration) -> list[Finding]:
    """Examine all bots, services and addresses at the same time; return the findings.

    Raises:
        ConfigurationError: BOTS_FILE or a TLS file is invalid.
    """
    settings, services, contracts = configuration
    table = contracts.table
    bots = load_bots(settings, table.service_names, table.route_names)
    channels = create_channels(settings, services)
    found = await asyncio.gather(
        *(_examine_bot(configuration, bot) for bot in bots.values()),
        examine_redis(settings.store_url, settings.data_dir),
        examine_services(channels, list_rpc_services(table)),
        examine_delivery(settings),
        examine_files(settings.files_base_url),
    )
    return list(chain.from_iterable(found))


async def _examine_bot(configuration: Configuration, bot: BotConfig) -> list[Finding]:
    table = configuration.contracts.table.restrict(bot.services, bot.routes)
    return await examine_bot(configuration.settings, bot, table.update_types)
