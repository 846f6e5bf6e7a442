"""The documentation says what is true of the code, and its links lead somewhere.

The pages are read as text. The other side of each comparison is read from the code, so
that a name that changes there has to change in the pages too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import grpc
import pytest
from botgateway.delivery.v1.delivery_pb2 import DoubtPolicy

from gateway.cli.main import cli
from gateway.config.settings import Settings
from gateway.domain.processing_record import Outcome
from gateway.mailboxes.redis.keys import ShardKeys
from tests.support.gateway_harness import running_gateway
from tests.support.reference_tables import (
    ROOT,
    LogEvent,
    Module,
    build_pages,
    find_events,
    read_dropped_parts,
    read_log_events,
    read_metrics,
    replace_blocks,
)
from tests.support.stores import KEYS

DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
]
FOLDERS = ("benchmarks", "deploy", "docs", "gateway", "generated", "proto", "tests")
OTHER_VARIABLES = {
    "ENV_FILE": "names the file with settings",
    "SECRETS_DIR": "names the directory with settings",
    "GRPC_EXPERIMENTS": "is read by gRPC",
    "RESOURCE_EXHAUSTED": "is a status of gRPC",
}
"""Words in capitals that are no settings."""


def page_id(page: Path) -> str:
    """Return the name of a page for the report of a test."""
    return str(page.relative_to(ROOT))


def read_first_column(page: str) -> list[str]:
    """Return what the first cells of the rows of a page's tables quote."""
    text = (DOCS / page).read_text()
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def read_code(page: Path) -> str:
    """Return what a page shows as code, a piece a line."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", rest)])


def test_the_tables_of_the_reference_are_those_of_the_code() -> None:
    """`make docs` writes them; this fails if somebody forgot to run it."""
    for path, expected in build_pages().items():
        assert path.read_text() == expected, f"run `make docs`: {path.name} is old"


def test_a_page_without_a_place_for_its_table_is_an_error() -> None:
    """Otherwise a page could lose its table without a sign."""
    page = "<!-- generated: a -->\nold\n<!-- end of a -->\n"
    assert "new" in replace_blocks(page, {"a": "new"})
    with pytest.raises(AssertionError, match="no place for b"):
        replace_blocks(page, {"b": "new"})


def test_every_way_to_log_is_found() -> None:
    """Plain calls, rate limited ones, and a text that a caller passes."""
    source = """
def plain():
    logger.warning("lease_lost", extra={"ordering_key": 1})

def limited(self):
    self._log.log(logging.ERROR, "connection_refused", errno=2)

def chosen(level):
    logger.log(level, "one" if level else "two", extra={})

def passed(event):
    logger.error(event)

def caller():
    passed("webhook_failed")
"""
    assert set(find_events(Module("m", ast.parse(source)))) == {
        LogEvent("lease_lost", "warning", "m", ("ordering_key",)),
        LogEvent("connection_refused", "error", "m", ("errno",)),
        LogEvent("one", "depends", "m", ()),
        LogEvent("two", "depends", "m", ()),
        LogEvent("webhook_failed", "error", "m", ()),
    }


def test_an_event_that_cannot_be_read_is_an_error() -> None:
    """A silent gap in the table would not be noticed."""
    for line in ("logger.error(str(error))", "logger.error(f'lost {key}')"):
        module = Module("m", ast.parse(f"def f(error, key):\n    {line}"))
        with pytest.raises(AssertionError, match="m:2"):
            list(find_events(module))


async def test_a_running_gateway_has_the_metrics_that_are_documented() -> None:
    """The table is read from the source; this is the page as Prometheus gets it."""
    documented = {it.name: (it.kind, it.meaning) for it in read_metrics()}
    async with running_gateway() as gateway:
        _, page = await gateway.get("/metrics", ops=True)
    meanings = dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE))
    kinds = dict(re.findall(r"^# TYPE (\S+) (.*)$", page, re.MULTILINE))
    ours = {name for name in kinds if not name.endswith("_created")}
    assert len(ours) > 10
    for name in ours:
        assert documented[name] == (kinds[name], meanings[name])


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_name_metrics_that_exist(page: Path) -> None:
    """An alert on a metric that is gone would stay silent for ever."""
    known = {it.name for it in read_metrics()}
    assert set(re.findall(r"`(gateway_[a-z_]+)", page.read_text())) <= known


def test_the_events_that_need_attention_are_logged() -> None:
    """An operator searches the log for them."""
    page = (DOCS / "reference" / "log-events.md").read_text()
    section = page.partition("## Events that need attention")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section))
    assert len(named) > 10
    assert named <= {it.event for it in read_log_events()}


def test_the_outcomes_are_all_documented() -> None:
    """Each once, and none that no update can have."""
    assert sorted(read_first_column("reference/outcomes.md")) == sorted(Outcome)


def test_the_dropped_reply_parts_are_all_documented() -> None:
    """Each once, and none that is never reported."""
    listed = read_first_column("reference/dropped-reply-parts.md")
    assert len(listed) > 30
    assert sorted(listed) == sorted(read_dropped_parts())


def test_the_redis_keys_are_all_documented() -> None:
    """Each once: those of a shard, and those of a mailbox by their prefixes."""
    shard = KEYS.shards[0]
    keys = {
        name: getattr(shard, name).decode().replace("{0}", "{s}")
        for name in ShardKeys._fields
        if isinstance(getattr(shard, name), bytes)
    }
    suffixes = {
        "mailbox_prefix": "<ordering key>",
        "state_prefix": "<ordering key>",
        "polling_lease_prefix": "<bot id>",
        "cooldown_prefix": "<bot id>/<chat id>",
        "record_prefix": "<delivery id>",
        "idempotency_prefix": "<delivery id>",
        "collapse_prefix": "<digest>",
        "recipients_prefix": "<bot id>:<n>",
        "broadcast_prefix": "<broadcast id>",
        "waiting_prefix": "<broadcast id>:<part>",
        "counts_prefix": "<broadcast id>",
        "failures_prefix": "<broadcast id>",
    }
    expected = [key + suffixes.get(name, "") for name, key in keys.items()]
    expected.append(KEYS.contracts[1].decode())
    assert sorted(read_first_column("reference/redis-keys.md")) == sorted(expected)


def test_the_invariants_are_those_that_tests_name() -> None:
    """They are numbered without a gap, and each has a test that refers to it."""
    page = (DOCS / "explanation" / "guarantees.md").read_text()
    defined = re.findall(r"^\| (I\d+) \|", page, re.MULTILINE)
    assert defined == [f"I{number}" for number in range(1, len(defined) + 1)]
    named = {
        word
        for path in (ROOT / "tests").rglob("*.py")
        for word in re.findall(r"\b(I\d+)\b", path.read_text())
    }
    assert named == set(defined)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_name_settings_that_exist(page: Path) -> None:
    """A misspelt setting is ignored by the gateway, and nobody notices."""
    known = {name.upper() for name in Settings.model_fields} | set(OTHER_VARIABLES)
    known |= {it.name for it in grpc.StatusCode} | set(DoubtPolicy.keys())
    of_services = re.compile(r"[A-Z]+_(TARGET|TIMEOUT|STREAMING|STREAM_TIMEOUT)")
    named = re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", page.read_text())
    assert {it for it in named if not of_services.fullmatch(it)} <= known


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_name_commands_that_exist(page: Path) -> None:
    """Words after the program's name are commands, and options are theirs."""
    for line in re.findall(r"telegram-gateway (.*)", read_code(page)):
        if page.name != "command-line.md":  # it shows what the program prints
            check_command(line.partition("#")[0].split())


def check_command(words: list[str]) -> None:
    """Check that a command line begins with a command and has its options."""
    command: click.Command = cli
    while words and isinstance(command, click.Group) and words[0][0].isalpha():
        assert words[0] in command.commands, words
        command = command.commands[words.pop(0)]
    options = {name for it in command.params for name in (*it.opts, "--help")}
    assert {it for it in words if it.startswith("--")} <= options


def test_a_command_that_is_gone_is_noticed() -> None:
    """The check above has to be able to fail."""
    check_command(["webhook", "set", "--force"])
    for words in (["webhok"], ["webhook", "sett"], ["webhook", "set", "--forse"]):
        with pytest.raises(AssertionError):
            check_command(words)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_name_targets_of_make_that_exist(page: Path) -> None:
    """`make` would say that there is no rule."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = re.findall(
        r"^(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)", read_code(page), re.MULTILINE
    )
    assert set(named) <= targets


def find_root(page: Path) -> str:
    """Return the folder in which a page names files without their first folders."""
    is_contributing = page.name == "CONTRIBUTING.md"
    return "gateway/sandbox/simulator" if is_contributing else "gateway"


def find_paths(page: Path) -> Iterator[str]:
    """Return the files and folders that a page names as code."""
    for path in re.findall(r"`([\w./-]+)`", page.read_text()):
        if path.split("/")[0] in FOLDERS and "/" in path:
            yield path
        elif re.fullmatch(r"\w+/[\w/]+\.(py|lua)", path):
            yield f"{find_root(page)}/{path}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_name_files_that_exist(page: Path) -> None:
    """Files move; the pages that name them have to follow."""
    missing = [path for path in find_paths(page) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Also those of the pages that are no part of the site."""
    for target in re.findall(r'(?:\]\(|src=")([^)"]+)', page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert anchor in {make_anchor(title) for title in titles}, target


def make_anchor(title: str) -> str:
    """Return the anchor that a code host gives to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_the_readme_is_short() -> None:
    """Everything else has a page of its own, to which it links."""
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    for folder in ("tutorials", "how-to", "reference", "explanation"):
        for page in (DOCS / folder).glob("*.md"):
            assert f"({page.relative_to(ROOT)})" in readme, page.name


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """A page without a place in the contents, or a dead link, is a warning."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"),
            *("--doctree-dir", tmp_path / "trees", DOCS, tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()
