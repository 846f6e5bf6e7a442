"""The commands and options of `telegram-gateway broadcasts`."""

import click


@click.group()
def broadcasts() -> None:
    """List, show, pause, resume or cancel broadcasts.

    They need the settings of a gateway, and its Redis.
    """


@broadcasts.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Maximum number of broadcasts.",
)
def list_broadcasts(limit: int) -> None:
    """Print the broadcasts, the newest first, without their texts."""
    from gateway.cli.broadcasts import print_broadcasts

    print_broadcasts(limit)


@broadcasts.command("show")
@click.argument("broadcast_id", metavar="ID")
@click.option("--watch", is_flag=True, help="Show the progress until it has ended.")
def show(broadcast_id: str, *, watch: bool) -> None:
    """Print the state of a broadcast and how far it is, without its text."""
    from gateway.cli.broadcasts import print_broadcast, watch_broadcast

    if watch:
        watch_broadcast(broadcast_id)
    print_broadcast(broadcast_id)


@broadcasts.command("pause")
@click.argument("broadcast_id", metavar="ID")
def pause(broadcast_id: str) -> None:
    """Pause a running broadcast on all workers."""
    from gateway.cli.broadcasts import pause_broadcast

    pause_broadcast(broadcast_id)


@broadcasts.command("resume")
@click.argument("broadcast_id", metavar="ID")
def resume(broadcast_id: str) -> None:
    """Continue a paused broadcast."""
    from gateway.cli.broadcasts import resume_broadcast

    resume_broadcast(broadcast_id)


@broadcasts.command("cancel")
@click.argument("broadcast_id", metavar="ID")
def cancel(broadcast_id: str) -> None:
    """Cancel a broadcast. Those who are waiting get nothing."""
    from gateway.cli.broadcasts import cancel_broadcast

    cancel_broadcast(broadcast_id)
