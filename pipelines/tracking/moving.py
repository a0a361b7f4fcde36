"""A local store whose folder was moved, renamed or copied: MLflow keeps absolute paths of what lies beside it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCAL_ARTIFACTS = "mlruns"
_SUFFIX = ".before-move"
_PATHS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def mend_moved(database: Path) -> str | None:
    """Point a SQLite store at the artifacts beside it; the store's lock must be held.

    Only paths whose files have come along are changed. A copy of the database as it was is left beside it.

    Returns:
        What was done, for people; None where nothing had to be.
    """
    if not database.exists():
        return None
    folder = database.absolute().parent / LOCAL_ARTIFACTS
    with closing(sqlite3.connect(database)) as store:
        try:
            locations = [str(row[0]) for row in store.execute("SELECT artifact_location FROM experiments")]
        except sqlite3.DatabaseError:
            return None  # new, or damaged, which is told where it is opened
        before = {root for each in locations if (root := _moved_root(each, folder)) is not None}
        if not before:
            return None
        backup = database.with_name(database.name + _SUFFIX)
        backup.touch()  # with the mode that the umask leaves
        with closing(sqlite3.connect(backup)) as copy:
            store.backup(copy)
        with store:
            for root in before:
                now = folder.as_uri() if root.startswith("file:") else str(folder)
                for table, columns in _PATHS.items():
                    for column in columns:
                        store.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                            (f"{now}/", len(root) + 2, len(root) + 1, f"{root}/"),
                        )
    shown = ", ".join(sorted(_path(root) for root in before))
    return (
        f"{database.name}: its artifacts moved from {shown} to {folder}; updated the paths and kept the previous "
        f"database as {backup.name}"
    )


def _moved_root(location: str, folder: Path) -> str | None:
    """The `mlruns` of an experiment's location, as it is written there, if it is another one than this folder."""
    root, _, name = location.rstrip("/").rpartition("/")
    elsewhere = root.rpartition("/")[2] == LOCAL_ARTIFACTS and _path(root) != str(folder)
    return root if elsewhere and (folder / unquote(name)).is_dir() else None


def _path(root: str) -> str:
    return unquote(urlsplit(root).path) if root.startswith("file:") else root
