"""Examines a bot: its token, and how Telegram delivers its updates."""

import asyncio
import ssl
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from gateway.cli.doctor.report import Finding, Verdict
from gateway.config.bots import BotConfig
from gateway.config.settings import Settings
from gateway.domain.errors import BotApiError
from gateway.telegram.bot_api.bot_settings import (
    WebhookInfo,
    get_me,
    get_webhook_info,
)
from gateway.telegram.bot_api.client import open_bot_api
from gateway.telegram.inbound.update_types import (
    OPT_IN_TYPES,
    UPDATE_TYPES,
    list_allowed_updates,
)

_CALL_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_RECENT_SECONDS = 600.0
"""Telegram keeps its last delivery error after a recovery: an older one is past."""

_MANY_PENDING = 100

_Result = tuple[Verdict, str]
"""The verdict and the text of a finding."""

_SET_AGAIN = "run `telegram-gateway webhook set`"


async def examine_bot(
    settings: Settings, bot: BotConfig, routed_types: Collection[str]
) -> list[Finding]:
    """Return what the Bot API says about a bot's token and its webhook or polling.

    It also connects to the webhook to check its certificate. If the Bot API does not
    answer, that is the only finding.

    Args:
        settings: the gateway's settings.
        bot: the bot.
        routed_types: the update types for which the bot has a route.
    """
    subject = _name("bot", bot)
    async with open_bot_api(
        bot.token, settings.api_url, request_timeout=_CALL_SECONDS
    ) as api:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                _, username = await get_me(api)
                info = await get_webhook_info(api)
        except BotApiError as error:
            text = str(error)
            if not error.description:
                text += f": check TELEGRAM_API_URL ({settings.api_url}) and the network"
            return [Finding(subject, Verdict.FAILED, text)]
        except TimeoutError:
            text = f"{settings.api_url} does not answer: check the network"
            return [Finding(subject, Verdict.FAILED, text)]
    findings = [Finding(subject, Verdict.OK, f"{settings.api_url} knows @{username}")]
    if bot.updates == "poll":
        return [*findings, _examine_polling(info, _name("polling", bot))]
    wanted = settings.webhook_url and bot.build_webhook_url(str(settings.webhook_url))
    return findings + await _examine_webhook(
        info, wanted or info.url, routed_types, _name("webhook", bot)
    )


def _name(part: str, bot: BotConfig) -> str:
    return f"{part} {bot.name}".strip()


def _examine_polling(info: WebhookInfo, subject: str) -> Finding:
    if info.url:
        text = (
            f"updates are polled, but the webhook {info.url} is set, so Telegram"
            " refuses getUpdates: run `telegram-gateway webhook delete`"
        )
        return Finding(subject, Verdict.FAILED, text)
    text = f"no webhook is set; {info.pending_update_count} updates wait"
    return Finding(subject, Verdict.OK, text)


async def _examine_webhook(
    info: WebhookInfo, wanted_url: str, routed_types: Collection[str], subject: str
) -> list[Finding]:
    if not info.url:
        text = f"none is set, so Telegram sends no updates: {_SET_AGAIN}"
        return [Finding(subject, Verdict.FAILED, text)]
    results = [
        _examine_url(info.url, wanted_url),
        _examine_types(info, routed_types),
        _examine_deliveries(info),
    ]
    if not info.has_custom_certificate and info.url.startswith("https:"):
        results.append(await _examine_certificate(info.url))
    return [Finding(subject, *result) for result in results if result is not None]


def _examine_url(url: str, wanted_url: str) -> _Result:
    if url != wanted_url:
        text = f"is {url}, not {wanted_url}: {_SET_AGAIN} with --force"
        return Verdict.FAILED, text
    if "/webhook/telegram" not in urlsplit(url).path:
        text = (
            f"is {url}: the gateway serves /webhook/telegram, so a proxy has to rewrite"
            " the path"
        )
        return Verdict.WARNING, text
    return Verdict.OK, f"is {url}"


def _examine_types(info: WebhookInfo, routed_types: Collection[str]) -> _Result | None:
    by_default = UPDATE_TYPES.keys() - OPT_IN_TYPES
    needed = set(list_allowed_updates(routed_types)) or by_default
    sent = set(info.allowed_updates) or by_default
    missing = sorted(needed - sent)
    if not missing:
        return None
    text = f"Telegram does not send {', '.join(missing)}: {_SET_AGAIN}"
    return Verdict.WARNING, text


def _examine_deliveries(info: WebhookInfo) -> _Result | None:
    waiting = f"{info.pending_update_count} updates wait"
    seconds = time.time() - info.last_error_date
    if info.last_error_date and seconds < _RECENT_SECONDS:
        text = (
            f'the delivery failed {seconds:.0f} s ago, "{info.last_error_message}";'
            f" {waiting}: {_explain_delivery(info.last_error_message)}"
        )
        return Verdict.FAILED, text
    if info.pending_update_count > _MANY_PENDING:
        text = f"{waiting}: check that the gateway runs and keeps up"
        return Verdict.WARNING, text
    return None


_DELIVERY_ERRORS = (
    ("certificate", "the certificate has to be valid and its chain complete"),
    ("ssl", "check the TLS versions and the certificate of the address"),
    ("refused", "start the gateway and the proxy in front of it, and open the port"),
    ("timed out", "open the firewall for Telegram, and check the proxy"),
    ("timeout", "open the firewall for Telegram, and check the proxy"),
    ("resolve", "correct the DNS entry of the address"),
    ("404", "the proxy has to pass /webhook/telegram on"),
    ("502", "the proxy does not reach the gateway"),
    ("503", "the proxy does not reach the gateway"),
    ("504", "the proxy does not reach the gateway"),
)


def _explain_delivery(message: str) -> str:
    found = (remedy for text, remedy in _DELIVERY_ERRORS if text in message.lower())
    return next(found, "look at the log of the proxy and of the gateway")


async def _examine_certificate(url: str) -> _Result | None:
    """Connect to the webhook as Telegram does, and check its certificate."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=ssl.create_default_context()
            )
    except ssl.SSLCertVerificationError as error:
        text = (
            f"its certificate is not accepted from here ({error.verify_message}):"
            " Telegram needs a valid one and its whole chain"
        )
        return Verdict.WARNING, text
    except OSError:  # including a timeout
        text = "its address cannot be reached from here, which Telegram has to"
        return Verdict.WARNING, text
    writer.transport.abort()
    return None
