"""The sizes of a repository's files: as the Hub lists them, or requested if a mirror lists none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView


class Sizes(Mapping[str, int]):
    """File -> bytes. A size that is not listed is requested once, when it is looked up."""

    def __init__(self, listed: Mapping[str, int | None], request: Callable[[str], int]) -> None:
        # Copied from another checkpoint's without requesting the sizes that it does not know.
        self._listed: dict[str, int | None] = dict(listed._listed if isinstance(listed, Sizes) else listed)
        self._request = request

    def known(self, file: str) -> int | None:
        """The size if it is known already."""
        return self._listed.get(file)

    def __getitem__(self, file: str) -> int:
        size = self._listed[file]
        if size is None:
            size = self._listed[file] = self._request(file)
        return size

    def __contains__(self, file: object) -> bool:
        return file in self._listed  # without requesting its size

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def values(self) -> ValuesView[int]:
        """The known sizes: a repository of thousands of files must not cost a request each."""
        return {file: size for file, size in self._listed.items() if size is not None}.values()
