"""The commands and options of `telegram-gateway bots`."""

import click


@click.group()
def bots() -> None:
    """List, add, change or remove the bots of BOTS_FILE.

    All gateways take a change up within two seconds, without a restart.
    """


_wait = click.option(
    "--wait",
    default=2.0,
    show_default=True,
    help="Seconds in which all gateways take up the change, before a webhook is set.",
)


@bots.command("list")
def list_bots() -> None:
    """Print the bots, without tokens and secrets."""
    from gateway.cli.bots import print_bots

    print_bots()


@bots.command("add")
@click.argument("name")
@click.option("--token-file", required=True, help="The file that keeps the token.")
@click.option(
    "--webhook-secret-file", help="The file that keeps the webhook secret; may be new."
)
@click.option("--poll", is_flag=True, help="Fetch the updates; there is no webhook.")
@click.option("--service", "services", multiple=True, help="Offer only this service.")
@_wait
def add(
    name: str,
    *,
    token_file: str,
    webhook_secret_file: str | None,
    poll: bool,
    services: tuple[str, ...],
    wait: float,
) -> None:
    """Add a bot, and set its webhook.

    Relative paths start at the directory of BOTS_FILE.
    """
    import asyncio

    from gateway.cli.bots import build_fields, open_editor

    fields = build_fields(
        token_file=token_file,
        webhook_secret_file=webhook_secret_file,
        poll=poll,
        services=services,
    )
    asyncio.run(open_editor(wait).add(name, fields))


@bots.command("rotate")
@click.argument("name")
@click.option("--token-file", help="Take the new token from this file; - is stdin.")
@click.option("--managed-by", help="Let this bot, which manages it, make the token.")
@_wait
def rotate(
    name: str, token_file: str | None, managed_by: str | None, wait: float
) -> None:
    """Replace the webhook secret of a bot, or its token.

    With --token-file or --managed-by it is the token. No update is lost. BotFather
    makes new tokens, and revokes the old one at once.
    """
    import asyncio

    from gateway.cli.bots import open_editor, read_token

    editor = open_editor(wait)
    if token_file is not None:
        asyncio.run(editor.rotate_token(name, read_token(token_file)))
    elif managed_by is not None:
        asyncio.run(editor.replace_managed_token(name, managed_by))
    else:
        asyncio.run(editor.rotate_secret(name))


@bots.command("pause")
@click.argument("name")
def pause(name: str) -> None:
    """Store the updates of a bot without processing them."""
    from gateway.cli.bots import open_editor

    open_editor().set_paused(name, is_paused=True)


@bots.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Process the updates of a paused bot again."""
    from gateway.cli.bots import open_editor

    open_editor().set_paused(name, is_paused=False)


@bots.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Delete the webhook of a bot, and remove the bot from BOTS_FILE."""
    import asyncio

    from gateway.cli.bots import open_editor

    asyncio.run(open_editor().remove(name))
