"""The gateway with a fault that a marked update sets off: it ends the process.

python -m tests.chaos.poison serve
"""

import os

from gateway import cli
from gateway.domain.services import Match
from gateway.domain.update import Update
from gateway.services.dispatch import Dispatch

POISON = "the update that ends its worker"
EXIT_CODE = 66

_find = Dispatch.find


def _find_or_end(dispatch: Dispatch, update: Update) -> Match | None:
    if update.message is not None and update.message.text == POISON:
        os._exit(EXIT_CODE)
    return _find(dispatch, update)


if __name__ == "__main__":
    Dispatch.find = _find_or_end  # type: ignore[method-assign, assignment]  # that is the point
    cli.main()
