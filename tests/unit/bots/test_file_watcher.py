"""What is read of a file that changes, or that is refused."""

from collections.abc import Mapping
from pathlib import Path

from gateway.bots.file_watcher import BotsFileWatcher
from gateway.config.bots import BotConfig, BotsFile
from gateway.domain.errors import ConfigurationError


class Reader:
    """Reads a file; an author may write to it meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes: list[str] = []
        self.problems: list[str] = []
        self.applied: list[str] = []
        self.read = ""

    def load(self) -> BotsFile:
        """Read the file, then let the author write to it."""
        if self.problems:
            raise ConfigurationError([self.problems.pop(0)])
        self.read = self.path.read_text()
        if self.writes:
            self.path.write_text(self.writes.pop(0))
        return BotsFile({}, (self.path,))

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
    assert await watcher.update()
    assert reader.applied == ["a part, and the rest"]


async def test_files_that_change_all_the_time_are_a_problem_until_they_rest(
    tmp_path: Path,
) -> None:
    """A request that waits for the change must not wait for ever."""
    path = tmp_path / "bots.yaml"
    path.write_text("")
    reader = Reader(path)
    watcher = BotsFileWatcher(reader.load, reader.apply, reader.load())
    reader.writes = ["x" * length for length in range(1, 100)]
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
    for problems in (("no such service",), ("no such service",), ()):
        await watcher.look(is_full=False)
        assert tuple(watcher.problems) == problems
    assert reader.applied == ["bots"]
