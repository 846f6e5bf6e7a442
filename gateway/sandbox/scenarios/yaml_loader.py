"""Reads a simple YAML document: maps, lists and texts, with their line numbers.

Values are not converted: every value is the text in the file, so that `no`, `1.0` and
`2026-01-01` need no quotes.
"""

from collections.abc import Callable
from typing import TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.domain.errors import ConfigurationError

T = TypeVar("T")

_NULL = "tag:yaml.org,2002:null"


class YamlDocument:
    """Reads the values of one YAML file, and collects problems with their lines."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._faults: list[tuple[int, str]] = []

    @property
    def faults(self) -> list[str]:
        """The problems found so far, by line, each with file and line as text."""
        found = sorted(self._faults, key=lambda fault: fault[0])
        return [f"{self._path}:{number}: {words}" for number, words in found]

    def compose(self, text: str) -> Node | None:
        """Parse the structure of the file.

        Returns:
            The root node, which the other methods read; None if the file is empty.

        Raises:
            ConfigurationError: the text is not valid YAML.
        """
        try:
            root: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            alias = "alias" in str(error.context)
            hint = " (a text that begins with * needs quotes)" if alias else ""
            line = mark.line + 1 if mark else 1
            problem = error.problem or error.context or "is no YAML"
            raise ConfigurationError(
                [f"{self._path}:{line}: {problem}{hint}"]
            ) from None
        except yaml.YAMLError:
            fault = "has characters that YAML does not allow"
            raise ConfigurationError([f"{self._path}: {fault}"]) from None
        except RecursionError:
            raise ConfigurationError([f"{self._path}: is nested too deeply"]) from None
        return root

    def fault(self, node: Node | None, words: str) -> None:
        """Add a problem, with the line of a node; None for the first line."""
        self._faults.append((line(node), words))

    def read(self, node: Node | None, read: Callable[[str | None], T]) -> T | None:
        """Parse the text of a node.

        Args:
            node: the node; None if it is missing.
            read: parses the text, or None if the node is missing or empty. Raises
                ValueError if the text is invalid.

        Returns:
            What `read` returned; None after an error, which was added as a problem.
        """
        if node and not isinstance(node, ScalarNode):
            self.fault(node, "needs a text here, no list or map")
            return None
        empty = node is None or node.tag == _NULL
        try:
            return read(None if empty or node is None else str(node.value))
        except ValueError as error:
            self.fault(node, str(error))
            return None

    def pairs(self, node: Node | None) -> dict[str, tuple[Node, Node]]:
        """Return the entries of a map: for each key its node and the node of its value.

        If the node is no map, add a problem and return nothing.
        """
        if not isinstance(node, MappingNode):
            self.fault(node, "needs a map here: lines of the form `name: value`")
            return {}
        found: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.fault(key, "needs a name before the colon")
            elif str(key.value) in found:
                self.fault(key, f"{key.value} stands here twice")
            else:
                found[str(key.value)] = (key, value)
        return found

    def items(self, node: Node | None, name: str) -> list[Node]:
        """Return the nodes of a list; if there are none, add a problem.

        Args:
            node: the node of the list; None if it is missing.
            name: the name of the list, for the problem.
        """
        if not isinstance(node, SequenceNode) or not node.value:
            self.fault(node, f"{name}: needs a list with something in it")
            return []
        return list(node.value)


def line(node: Node | None) -> int:
    """Return the line at which a node begins, from 1; 1 for None."""
    return node.start_mark.line + 1 if node else 1
