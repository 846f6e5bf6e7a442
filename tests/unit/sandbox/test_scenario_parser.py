"""What a file of a scenario may say, and what is wrong with one."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.scenarios.parser import read_scenario, read_scenarios
from gateway.sandbox.scenarios.patterns import parse_pattern
from gateway.sandbox.scenarios.scenario import User

GOOD = """
name: All there is
users:
  ada: 1001
  bob:
  zoë: {id: 7, language: pt-br}
timeout: 2s
pace: 500ms
steps:
  - ada  says: no
  - bob sees: 1.0
    within: 1m
  - zoë blocks the bot
  - wait: 10ms
  - bob sees toast: ""
"""

BAD = """name: x
users: [ada, 9x, wait, ada]
timeout: fast
colour: red
colour: blue
steps:
  - ada says:
  - ada shouts: hello
  - bob says: hi
  - ada sees: [a]
  - ada attaches: cat
  - expect outcome: limitted
  - ada sends album: 11
  - ada sends burst: many
  - wait: 1h
  - ada says: x
    ada sees: y
  - ada sees: x
    within: soon
  - ada blocks the bot: now
  - ada sees toast:
  - [ada]
  - xyzzy
"""

FAULTS = """
2: `9x` is no name for a user: it is one word
2: `wait` is no name for a user: it is one word
2: users: each one needs a name and an id of their own
3: needs a time such as 500ms, 2s or 1m, at most 10m
4: colour is none of name, users, bots, timeout, pace, steps
5: colour stands here twice
7: needs a text
8: there is no step `ada shouts`; is it `ada s
9: bob is none of the users
10: needs a text here, no list or map
11: needs one of contact, document, location, photo, sticker, video, voice
12: needs one of blocked, crashed, done, duplicate, expired, forbidden,
13: needs a number from 2 to 10
14: needs a number
15: needs a time such as 500ms, 2s or 1m, at most 10m
16: a step is one line, and perhaps `within: 10s`
19: needs a time such as 500ms, 2s or 1m, at most 10m
20: needs nothing after it
21: needs a text, or "" for none
22: needs a map here: lines of the form `name: value`
22: a step is one line, and perhaps `within: 10s`
23: there is no step `xyzzy`; there are NAME says, NAME presses,
""".strip().splitlines()


def faults_of(text: str) -> list[str]:
    """Return what is wrong with a text."""
    with pytest.raises(ConfigurationError) as caught:
        read_scenario("x.yaml", text)
    return list(caught.value.problems)


def test_a_file_says_who_does_what() -> None:
    """Values are texts, whatever YAML would make of them."""
    scenario = read_scenario("x.yaml", GOOD)
    assert scenario.name == "All there is"
    assert scenario.users == (
        User("ada", 1001),
        User("bob"),
        User("zoë", 7, "pt-br"),
    )
    assert scenario.pace == 0.5
    steps = [(step.line, step.user, step.words) for step in scenario.steps]
    assert steps == [
        (10, "ada", "ada says: no"),
        (11, "bob", "bob sees: 1.0"),
        (13, "zoë", "zoë blocks the bot"),
        (14, "", "wait: 10ms"),
        (15, "bob", "bob sees toast: "),
    ]
    assert [step.within for step in scenario.steps] == [2, 60, 2, 2, 2]


def test_a_step_names_its_bot() -> None:
    """One bot needs no name; it is in the words of the report otherwise."""
    head = "users: [ada]\nbots: [shop, support]\nsteps:\n"
    steps = "- ada says: hi\n  bot: support\n- wait: 0s\n"
    scenario = read_scenario("x.yaml", head + steps)
    assert scenario.bots == ("shop", "support")
    first, second = scenario.steps
    assert (first.bot, first.words) == ("support", "ada says: hi (@support)")
    assert (second.bot, second.words) == ("", "wait: 0s")
    single = "users: [ada]\nbots: [shop]\nsteps:\n- ada says: hi\n"
    assert read_scenario("x.yaml", single).bots == ("shop",)


@pytest.mark.parametrize(
    ("bots", "step", "fault"),
    [
        ("[]", "ada says: hi", "2: bots: needs a list with something in it"),
        ("[A]", "ada says: hi", "2: a bot's name has 1 to 32 characters from a-z 0-9"),
        ("[shop, shop]", "wait: 0s", "2: bots: each one needs a name of its own"),
        ("[shop, b]", "ada says: hi", "4: needs one of the bots, such as `bot: shop`"),
        ("[shop]", "ada says: hi\n  bot: b", "4: b is none of the bots"),
        ("[shop]", "ada says: hi\n  bot: B", "5: a bot's name has 1 to 32 characters"),
        ("[shop]", "wait: 0s\n  bot: shop", "4: only a step of a user has a bot"),
    ],
)
def test_a_bot_that_cannot_be_is_reported(bots: str, step: str, fault: str) -> None:
    faults = faults_of(f"users: [ada]\nbots: {bots}\nsteps:\n- {step}\n")
    assert faults[0].startswith(f"x.yaml:{fault}")


def test_little_has_to_be_said() -> None:
    """A file without a name has its own, and steps have five seconds."""
    text = "users: [ada]\nsteps: [wait: 0s]"
    scenario = read_scenario("tests/first.yaml", text)
    assert scenario.name == "first"
    assert scenario.users == (User("ada"),)
    assert scenario.pace == 1
    assert scenario.steps[0].within == 5


def test_all_faults_come_at_once_and_with_their_lines() -> None:
    """In the order in which they stand in the file."""
    faults = faults_of(BAD)
    assert len(faults) == len(FAULTS), faults
    for fault, start in zip(faults, FAULTS, strict=True):
        assert fault.startswith(f"x.yaml:{start}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: users: needs a list with something in it"),
        ("users: [a]\nsteps: []", "2: steps: needs a list with something in it"),
        ("users: {a: x}", "1: a user's id is a number of at most 52 bits"),
        ("users: {a: 0}", "1: a user's id is a number of at most 52 bits"),
        ("users: {a: 4503599627370496}", "1: a user's id is a number of at most 52"),
        ("users: {a: {language: 1}}", "1: a language is a tag such as en or pt-br"),
        ("users: {a: {name: A}}", "1: a user has an id and a language"),
        ("users: {a: 1, b: 1}", "1: users: each one needs a name and an id of their"),
        ("steps:\n  - a sees: *b*", "2: expected alphabetic or numeric character"),
        ("steps:\n  - a sees: b: c", "2: mapping values are not allowed here"),
        ("a: [", "1: expected the node content"),
        ("? [a]\n: b", "1: needs a name before the colon"),
    ],
)
def test_a_fault_is_reported(text: str, fault: str) -> None:
    """Among others, which there may be."""
    assert any(each.startswith(f"x.yaml:{fault}") for each in faults_of(text))


def test_an_asterisk_without_quotes_is_explained() -> None:
    """It is what everybody will get wrong once."""
    (fault,) = faults_of("steps:\n  - a sees: *b*")
    assert fault.endswith("(a text that begins with * needs quotes)")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('a: "\x01"', "x.yaml: has characters that YAML does not allow"),
        ("[" * 5_000, "x.yaml: is nested too deeply"),
    ],
)
def test_what_is_no_yaml_at_all_is_reported(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


def test_a_file_that_refers_to_itself_ends() -> None:
    """Anchors are followed no deeper than a step goes."""
    assert faults_of("users: [a]\nsteps: &s [*s, {a says: *s}]")


def test_the_faults_of_all_files_come_together(tmp_path: Path) -> None:
    """Also those of files that cannot be read."""
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    (tmp_path / "empty.yaml").touch()
    names = ("none.yaml", "latin.yaml", "empty.yaml")
    with pytest.raises(ConfigurationError) as caught:
        read_scenarios(tmp_path / name for name in names)
    first, second, third, *_ = caught.value.problems
    assert first == f"{tmp_path / 'none.yaml'}: No such file or directory"
    assert second == f"{tmp_path / 'latin.yaml'}: is not UTF-8"
    assert third.startswith(f"{tmp_path / 'empty.yaml'}:1: ")


@given(st.text())
def test_any_text_is_a_scenario_or_has_faults(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert read_scenario("x.yaml", text).steps


@pytest.mark.parametrize(
    ("words", "text", "fits"),
    [
        ("hello", "hello", True),
        ("hello", " hello\n", True),
        ("hello", "hello!", False),
        ("hello", "Hello", False),
        ("h*o", "h\nello", True),
        ("*", "", True),
        ("[a]? .", "[a]? .", True),
        ("[a]? .", "a x", False),
        (r"2 \* 3", "2 * 3", True),
        (r"2 \* 3", "2 x 3", False),
        (r"a\b", r"a\b", True),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_a_pattern_is_the_whole_text_with_asterisks(
    words: str, text: str, fits: bool
) -> None:
    assert parse_pattern(words).matches(text) is fits


def test_the_examples_of_the_documentation_can_be_read() -> None:
    """They are what most people start from."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "how-to" / "scenario-tests.md").read_text()
    examples = [each.partition("```")[0] for each in page.split("```yaml\n")[1:]]
    read = [read_scenario("scenario-tests.md", example) for example in examples]
    assert [len(scenario.steps) for scenario in read] == [6, 3]
    assert read[1].bots == ("shop", "support")
