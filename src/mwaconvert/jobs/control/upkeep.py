"""Upkeep of a store: backup and restore while it runs, expiry and retention."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.control.store import Store, url_of
from mwaconvert.jobs.control.work import Product


def backup(store: Store, path: Path) -> None:
    """Copy a store to a file while it is in use: a consistent state of one moment.

    SQLite by its backup interface, PostgreSQL by `pg_dump` (custom format), which must be installed.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    if store.is_sqlite:
        source = sqlite3.connect(_database_file(store.url))
        target = sqlite3.connect(part)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
    else:
        _postgres("pg_dump", "--format=custom", f"--file={part}", _plain_url(store.url))
    part.replace(path)


def restore(path: Path, database: str | Path) -> None:
    """Make a store from a backup.

    Parameters
    ----------
    database
        A path that does not exist yet, or the URL of an empty PostgreSQL database.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such backup")
    url = url_of(database)
    if url.startswith("sqlite"):
        target = Path(_database_file(url))
        if target.exists():
            raise InputError(f"{target}: exists; a backup is restored into a new file")
        part = target.with_name(target.name + ".part")
        shutil.copyfile(path, part)
        connection = sqlite3.connect(part)
        try:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise FormatError(f"{path}: not a backup of a store of jobs ({error})") from error
        finally:
            connection.close()
        if sound != "ok":
            raise FormatError(f"{path}: the backup is damaged: {sound}")
        part.replace(target)
    else:
        _postgres("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={_plain_url(url)}", str(path))


def _database_file(url: str) -> str:
    return sa.make_url(url).database or ""


def _plain_url(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _postgres(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ResourceError(f"{argv[0]} is not installed; install the PostgreSQL client programs") from error
    if done.returncode != 0:
        raise ResourceError(
            f"{argv[0]} failed: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}"
        )


def remove_files(product: Product) -> None:
    """Remove a product that is a file or a folder of this machine."""
    path = Path(product.path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_other(product: Product) -> bool:
    """Whether a file of another size stands where a product of this machine was delivered."""
    path = Path(product.path)
    return path.is_file() and path.stat().st_size != product.size


def collect_garbage(
    store: Store,
    work_dir: Path,
    *,
    keep_s: float | None = None,
    remove: Callable[[Product], None] = remove_files,
) -> list[str]:
    """Remove expired products, and forget jobs that ended long ago together with their folders.

    Parameters
    ----------
    work_dir
        Where the engines keep the folders of attempts.
    keep_s
        Forget jobs that ended so many seconds ago and have no product left; None: forget none.
    remove
        Removes the files of a product.

    Returns
    -------
    list of str
        What was done, a line each; also what could not be removed, which is tried again next time.
    """
    done = []
    for product in store.expired_products():
        if _is_other(product):
            store.product_removed(product.id)
            done.append(
                f"job {product.job_id}: {product.path} is not what was delivered any more, so it was left"
            )
            continue
        try:
            remove(product)
        except OSError as error:
            done.append(f"job {product.job_id}: {product.path} could not be removed: {error.strerror}")
            continue
        store.product_removed(product.id)
        done.append(f"job {product.job_id}: removed {product.path}")
    if keep_s is not None:
        for job in store.old_jobs(store.now() - keep_s):
            folder = work_dir / str(job.id)
            if folder.is_dir():
                shutil.rmtree(folder)
            store.delete_job(job.id)
            done.append(f"job {job.id}: forgotten")
    return done
