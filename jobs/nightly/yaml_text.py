"""YAML in which every text stays a text for the readers of schedulers, which differ from Python's."""

from __future__ import annotations

import re
from typing import Any

import yaml

# Python's writer quotes what YAML 1.1 takes for something else. To other readers `1e3` and `0o17` are numbers
# (YAML 1.2), and `y` is a yes.
_NUMBER = r"[-+]?(?:[0-9.][0-9a-fox_.:+-]*|e[-+]?[0-9]+|\.?(?:nan|inf|infinity))"
_NO_TEXT_ELSEWHERE = re.compile(rf"{_NUMBER}|[yn]", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml carries no annotations
    """Quotes a text that some reader takes for something else, and writes one of several lines as a block."""


def _scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = "'" if _NO_TEXT_ELSEWHERE.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else quoted)


_Dumper.add_representer(str, _scalar)


def yaml_text(*documents: Any) -> str:  # Any: the shape of each is its reader's own
    """The documents of one file."""
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000))
