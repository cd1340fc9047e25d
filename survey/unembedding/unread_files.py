"""Files beside those whose tensors are known: before a head is called absent, none of them may hold it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from survey.errors import BrokenFile, NotThere
from survey.formats.suffixes import WEIGHT_SUFFIXES
from survey.unembedding.model_parts import SOUNDS_LIKE_A_HEAD, of_another_part

_OTHER_RUNTIMES = (".onnx", ".h5", ".msgpack")  # exports of the same model


@dataclass(frozen=True, slots=True)
class UnreadFiles:
    """Files that may hold a matrix, too.

    beside: those in the folders of the weights. missing: those that an index names and that do not exist.
    strays: the head in a file that no index names, by the file.
    """

    beside: Collection[str] = ()
    missing: Collection[str] = ()
    strays: Mapping[str, str] = field(default_factory=dict)

    def refuse_missing(self, kind: str, where: str) -> None:
        """Raise BrokenFile (`index-mismatch`) if a file is missing. kind: "head" or "embedding"."""
        if file := min(self.missing, default=None):
            problem = f"the index names this file, which does not exist: it may hold the {kind}"
            raise BrokenFile("index-mismatch", f"{where}/{file}", problem)

    def refuse_head(self, where: str) -> None:
        """Raise BrokenFile, or NotThere (`unknown-head`), if a file may hold a head."""
        self.refuse_missing("head", where)
        for file, head in sorted(self.strays.items()):
            raise NotThere(
                "unknown-head", f"{where}/{file}", f"holds {head}, and the index names no such file"
            )
        if named := sorted(file for file in self.beside if _is_named_like_a_head(file)):
            problem = f"{named[0]} has a head's name, and is none of the files that are read"
            raise NotThere("unknown-head", where, problem)


ALL_READ = UnreadFiles()


def _is_named_like_a_head(file: str) -> bool:
    sounds = SOUNDS_LIKE_A_HEAD.search(file.rpartition("/")[2]) and not of_another_part(file)
    return bool(sounds) and file.endswith(WEIGHT_SUFFIXES) and not file.endswith(_OTHER_RUNTIMES)
