"""A second opinion on a file that seems broken: read whole, over a new handle, with another library.

A file that cannot be read is not damaged. It is called damaged only if all its bytes came, as many as the
store states and with the checksum that the store states, and they are not a sound Parquet file of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal

from catalog.files import MAX_FOOTER_BYTES, File
from catalog.store.object_store_errors import Unreadable
from catalog.store.open import CatalogStore
from catalog.store.regular_files import NotRegular
from catalog.tables.claimed_counts import refuse_claims
from catalog.tables.column_chunks import refuse_encrypted, unpacked_bytes
from catalog.tables.footer import schema_of
from catalog.tables.thrift import MalformedFooter, StrangeFooter
from catalog.tables.versions import ALWAYS, MARK, columns_in, mark_of, problem_of, problem_of_rows
from survey.errors import UsageError
from survey.process.ulimits import NO_ROOM, shortage

_NOT_IMPLEMENTED = "Not yet implemented"
MAX_UNPACKED_BYTES = 1 << 30  # of a row group: a part has 256 MB in all


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file is after all of it was read, and what is wrong with it."""

    fate: Literal["sound", "damaged", "foreign", "unreadable", "gone"]
    problem: str = ""


def examine(store: CatalogStore, file: File) -> Examined:
    """Read all of a file and judge it."""
    try:
        with tempfile.TemporaryFile() as copy:
            store.copy(file, copy)
            return _of_content(file.folder, copy)
    except FileNotFoundError:
        return Examined("gone")
    except NotRegular as error:
        return Examined("foreign", str(error.strerror))
    except Unreadable as error:
        return Examined("gone") if error.gone else Examined("unreadable", f"cannot be read: {error}")
    except OSError as error:
        if error.errno in NO_ROOM:  # for the copy, which says nothing about the file
            raise UsageError(f"{tempfile.gettempdir()} has no room to examine {file}: free some") from error
        return Examined("unreadable", f"cannot be read: {error.strerror or error}")
    except (MemoryError, NotImplementedError) as error:  # Arrow's errors derive from these
        return Examined("unreadable", f"cannot be read here: {_in_a_line(error) or 'not enough memory'}")


def _of_content(folder: str, copy: IO[bytes]) -> Examined:
    size = copy.seek(0, 2)
    footer = _footer(copy, size)
    if footer is None:
        return Examined("damaged", "not a whole Parquet file")
    try:
        refuse_claims(footer)
        refuse_encrypted(footer)
        types, _, rows = schema_of(footer)
    except StrangeFooter as error:
        return Examined("foreign", f"not a table of {folder}/: {error}")
    except MalformedFooter as error:
        return Examined("damaged", f"its footer is broken: {error}")
    problem, mark = _read_all(copy, footer)
    if problem:
        return Examined("damaged", f"its content is broken: {problem}")
    if mark == mark_of(folder, types) and rows > 0 and set(ALWAYS[folder]) <= set(types):
        known = {column.name: column.sql_type for column in columns_in(folder)}
        if all(known.get(name, kind) == kind for name, kind in types.items()):
            return Examined("sound")  # unchanged since this version or a newer one wrote it
    if mark is not None and mark.startswith(f"{folder} ".encode()) and mark != mark_of(folder, types):
        return Examined("foreign", "its columns are not those that the survey wrote")
    problem = problem_of(folder, types) or problem_of_rows(rows)
    return Examined("foreign", problem) if problem else Examined("sound")


def _footer(copy: IO[bytes], size: int) -> bytes | None:
    if size < 12:
        return None
    copy.seek(0)
    head = copy.read(4)
    copy.seek(size - 8)
    tail = copy.read(8)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if head != b"PAR1" or tail[4:] != b"PAR1" or footer_bytes + 12 > size:
        return None
    copy.seek(size - 8 - footer_bytes)
    return copy.read(min(footer_bytes, MAX_FOOTER_BYTES))


def _read_all(copy: IO[bytes], footer: bytes) -> tuple[str, bytes | None]:
    """The problem with a file's pages, empty if there is none, and the file's mark."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    copy.seek(0)
    try:
        metadata = pq.read_metadata(copy)
        _refuse_large(unpacked_bytes(footer))
        # A dictionary of one long text may stand for millions, which are not made of it then.
        texts = [
            column.path
            for column in map(metadata.schema.column, range(metadata.num_columns))
            if column.physical_type == "BYTE_ARRAY"
        ]
        try:
            _read_pages(copy, texts)
        except OSError as error:
            if not str(error).startswith(_NOT_IMPLEMENTED):
                raise
            _read_pages(copy, ())  # our token texts have no dictionary, each begins as the one before
        return "", (metadata.metadata or {}).get(MARK)
    except (MemoryError, NotImplementedError):  # not enough memory, or a codec that this pyarrow lacks
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the copy: Arrow's own have none
            raise
        if shortage(error) or str(error).startswith(_NOT_IMPLEMENTED):  # which is no damage
            raise NotImplementedError(_in_a_line(error)) from error
        return _in_a_line(error), None


def _read_pages(copy: IO[bytes], as_dictionaries: Sequence[str]) -> None:
    import pyarrow.parquet as pq

    copy.seek(0)
    file = pq.ParquetFile(copy, read_dictionary=as_dictionaries, page_checksum_verification=True)
    for _ in file.iter_batches(batch_size=64, use_threads=False):
        pass


def _refuse_large(groups: Sequence[int]) -> None:
    """Raises MemoryError if a row group claims to unpack to more bytes than any of ours does."""
    for size in groups:
        if size > MAX_UNPACKED_BYTES:
            raise MemoryError(f"it unpacks to {size:,} bytes, expected {MAX_UNPACKED_BYTES:,} or fewer")


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
