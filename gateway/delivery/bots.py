"""The bots for which services may ask for deliveries."""

from collections.abc import Sequence

import grpc
from msgspec import Struct

from gateway.config.delivery_callers import Caller
from gateway.delivery.failures import RpcFailure, Violation


class DeliveryBot(Struct, frozen=True, kw_only=True):
    """A bot of this gateway, by which deliveries can be sent.

    Attributes:
        bot_id: Telegram's id of the bot.
        name: its name in BOTS_FILE; None for the bot of TELEGRAM_BOT_TOKEN.
    """

    bot_id: int
    name: str | None = None

    @property
    def names(self) -> Sequence[str]:
        """The words by which a request can name the bot: its name and its id."""
        bot_id = str(self.bot_id)
        return (bot_id,) if self.name is None else (self.name, bot_id)


def find_bot(
    bots: Sequence[DeliveryBot], caller: Caller, name: str
) -> DeliveryBot | None:
    """Find the bot of a request.

    Args:
        bots: all bots of this gateway.
        caller: the service that asks.
        name: the name or id in the request; empty for the only one that the caller may
            use.

    Returns:
        The bot; None if there is none with this name, or the name is empty and the
        caller may use several bots.

    Raises:
        RpcFailure: the caller may not use this bot, or may not use any.
    """
    allowed = [bot for bot in bots if caller.may_use_bot(bot.names)]
    if not allowed:
        raise _build_denial()
    if not name:
        return allowed[0] if len(allowed) == 1 else None
    for bot in bots:
        if name in bot.names:
            if bot in allowed:
                return bot
            raise _build_denial()
    return None


def check_bot(bot: DeliveryBot | None, name: str, field: str) -> list[Violation]:
    """Return the violation of a request whose bot was not found; none if it was.

    Args:
        bot: the bot that `find_bot` returned.
        name: the name or id of the bot in the request; may be empty.
        field: the path of the field with the name, such as "recipient.bot".
    """
    if bot is not None:
        return []
    if name:
        return [Violation(field, "is not a bot of this gateway")]
    return [Violation(field, "is empty, but the caller may use several bots")]


def _build_denial() -> RpcFailure:
    return RpcFailure(
        grpc.StatusCode.PERMISSION_DENIED, "the caller may not use this bot"
    )
