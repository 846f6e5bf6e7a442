"""Reads YAML files, and reports their problems without their contents."""

from pathlib import Path
from typing import Any

import yaml

# The loader in C needs a tenth of the time; not every build of PyYAML has it.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc,valid-type]  # as it is chosen here
    """Rejects keys that occur twice, of which YAML would keep the last."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Any, Any]:
        """Build a dictionary.

        Raises:
            MarkedYAMLError: a key occurs twice.
        """
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem_mark=key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path, problems: list[str]) -> Any:  # noqa: ANN401 - any document
    """Return the document of a YAML file.

    Args:
        path: the file.
        problems: receives a line if the file cannot be read, is not valid YAML or has
            a key twice.

    Returns:
        The document, which may be of any type. None after a problem, but also for an
        empty file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, _Loader)  # noqa: S506 - derived from the safe loader
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{path}: is not UTF-8")
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problems.append(f"{path.name}: is not valid YAML, or repeats a key{line}")
    except (yaml.YAMLError, RecursionError, TypeError):
        problems.append(f"{path.name}: is not valid YAML")
    return None
