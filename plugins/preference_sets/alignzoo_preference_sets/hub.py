"""Rows by way of `datasets`, streamed: a set on the hub, or a local folder laid out like one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alignzoo.rows import Fault, Placed, ReadError

SCRIPT = "scripts are no longer supported"
"""What `datasets` says of a set that comes as a script."""
CONVERTED = "refs/convert/parquet"
"""The branch on which the hub keeps its own copy of a set as parquet: a folder for each subset, in it one for each split."""


def rows_of_set(path: str, subset: str, published: str, revision: str) -> Iterator[Placed]:
    """The rows of a set's own split. A subset is a configuration of the set or, where it has no such one, a folder in it."""
    with _told(path, "check its name, its subset and your connection; or download it, and give the path"):
        try:
            rows = _streamed(path, subset, published, revision)
        except RuntimeError as error:
            if revision or SCRIPT not in str(error):
                raise
            rows = _streamed(path, subset, published, CONVERTED)
        yield from _placed(rows, f"{path}{'/' + subset if subset else ''} {published}")


def _streamed(path: str, subset: str, published: str, revision: str) -> Any:
    from datasets import get_dataset_config_names, load_dataset

    rest: dict[str, Any] = {"revision": revision} if revision else {}
    configured = subset and subset in get_dataset_config_names(path, **rest)
    rest |= {"name": subset} if configured else {"data_dir": subset} if subset else {}
    return load_dataset(path, split=published, streaming=True, **rest)


def _placed(rows: Any, name: str) -> Iterator[Placed]:
    for number, row in enumerate(rows, start=1):
        yield f"{name}:{number}", row if isinstance(row, Mapping) else Fault("a row must be a table")


@contextmanager
def _told(path: str, remedy: str) -> Iterator[None]:
    """Whatever goes wrong in there (and `datasets` raises the errors of many libraries) is told with the set's name."""
    try:
        yield
    except ReadError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        if "Offline" in f"{type(error).__name__} {error}":  # asked for by the environment, so no mistake in the name
            remedy = f"HF_HUB_OFFLINE is set: unset it, or {remedy.rpartition('; or ')[2]}"
        raise ReadError(f"{path}: cannot be read: {type(error).__name__}: {first}; {remedy}") from error
