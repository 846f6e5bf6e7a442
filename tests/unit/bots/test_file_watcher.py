"""What is read of a file that changes, or that is refused."""

from collections.abc import Mapping
from pathlib import Path

from gateway.bots.file_watcher import BotsFileWatcher
from gateway.config.bots import BotConfig, BotsFile
from gateway.config.file_fingerprints import read_fingerprints
from gateway.domain.errors import ConfigurationError


class Reader:
    """Reads a file; an author may write to it meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes: list[str] = []
        self.problems: list[str] = []
        self.applied: list[str] = []
        self.read = ""
        self.loads = 0

    def load(self) -> BotsFile:
        """Read the file, then let the author write to it."""
        if self.problems:
            raise ConfigurationError([self.problems.pop(0)])
        fingerprints = read_fingerprints((self.path,))
        self.read = self.path.read_text()
        self.loads += 1
        if self.writes:
            self.path.write_text(self.writes.pop(0))
        return BotsFile({}, (self.path,), fingerprints)

    async def apply(self, bots: Mapping[str, BotConfig]) -> None:
        """Note which text was taken up."""
        self.applied.append(self.read)


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path,
) -> None:
    """The first part of a file may be valid, but have fewer bots."""
    path = tmp_path / "bots.yaml"
    path.write_text("a part")
    reader = Reader(path)
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    reader.writes = ["a part, and more", "a part, and the rest"]
    path.write_text("a")
    assert await watcher.update()
    assert reader.applied == ["a part, and the rest"]


async def test_what_was_read_at_the_start_is_read_again_only_after_a_change(
    tmp_path: Path,
) -> None:
    """A thousand bots have three thousand files."""
    path = tmp_path / "bots.yaml"
    path.write_text("first")
    reader = Reader(path)
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    for is_full in (True, False, False, True):
        await watcher.look(is_full=is_full)
    assert not await watcher.update()
    assert reader.loads == 1
    path.write_text("second")
    await watcher.look(is_full=True)
    assert (reader.loads, reader.applied) == (2, ["second"])


async def test_a_change_since_the_start_is_found_by_the_first_look(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bots.yaml"
    path.write_text("first")
    reader = Reader(path)
    reader.writes = ["second"]
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    await watcher.look(is_full=False)
    assert reader.applied == ["second"]


async def test_files_that_change_all_the_time_are_a_problem_until_they_rest(
    tmp_path: Path,
) -> None:
    """A request that waits for the change must not wait for ever."""
    path = tmp_path / "bots.yaml"
    path.write_text("")
    reader = Reader(path)
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    reader.writes = ["x" * length for length in range(2, 100)]
    path.write_text("x")
    assert not await watcher.update()
    assert (reader.applied, len(reader.writes) > 50) == ([], True)
    assert tuple(watcher.problems) == ("bots.yaml: changes while it is read",)
    reader.writes.clear()
    await watcher.look(is_full=False)
    assert (len(reader.applied), tuple(watcher.problems)) == (1, ())


async def test_a_refused_file_is_read_at_each_look(tmp_path: Path) -> None:
    """What was wrong may be elsewhere: in the contracts, or in a missing file."""
    path = tmp_path / "bots.yaml"
    path.write_text("bots")
    reader = Reader(path)
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    reader.problems = ["no such service", "no such service"]
    path.write_text("bots, and more")
    for problems in (("no such service",), ("no such service",), ()):
        await watcher.look(is_full=False)
        assert tuple(watcher.problems) == problems
    assert reader.applied == ["bots, and more"]
