"""The sizes of a repository's files: as the Hub lists them, or asked for where a mirror lists none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView


class Sizes(Mapping[str, int]):
    """File -> bytes. A size that is not listed is asked for when it is looked up, once."""

    def __init__(self, listed: Mapping[str, int | None], ask: Callable[[str], int]) -> None:
        # Those of another checkpoint are taken over as they are known, without asking for the others.
        self._listed: dict[str, int | None] = dict(listed._listed if isinstance(listed, Sizes) else listed)
        self._ask = ask

    def known(self, file: str) -> int | None:
        """The size where it is known already."""
        return self._listed.get(file)

    def __getitem__(self, file: str) -> int:
        size = self._listed[file]
        if size is None:
            size = self._listed[file] = self._ask(file)
        return size

    def __contains__(self, file: object) -> bool:
        return file in self._listed  # without asking how large it is

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def values(self) -> ValuesView[int]:
        """Those that are known: nobody asks a repository of thousands of files for each."""
        return {file: size for file, size in self._listed.items() if size is not None}.values()
