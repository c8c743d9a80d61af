"""The store's tables, as numbered steps from nothing to what `store.py` expects.

A step that has been released is never edited; a change is a new step. Rows hold plain text and
whole numbers (times in microseconds since 1970, UTC), so that every database keeps them alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kitfox import logs
from kitfox.training.database import Connection, Database, StoreError

__all__ = ["MIGRATIONS", "Migration", "migrate"]

log = logs.channel("TRAINING")


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One step."""

    number: int
    """The version of the schema after it; counts from 1 without gaps."""
    about: str
    """What it changes."""
    statements: Callable[[Database], Sequence[str]]
    """The SQL, for the database at hand."""


def _first(database: Database) -> Sequence[str]:
    return (
        f"""CREATE TABLE jobs (
            number {database.row_number},
            id VARCHAR(64) NOT NULL UNIQUE,
            kind VARCHAR(32) NOT NULL,
            state VARCHAR(16) NOT NULL,
            claim VARCHAR(32),
            module_id TEXT NOT NULL,
            module_name TEXT NOT NULL,
            module_version TEXT NOT NULL,
            model_name TEXT NOT NULL,
            libraries TEXT NOT NULL,
            model_paths TEXT NOT NULL,
            data_base_dir TEXT NOT NULL,
            working_dir TEXT NOT NULL,
            output_path TEXT NOT NULL,
            overwrite INTEGER NOT NULL,
            log_path TEXT NOT NULL,
            created BIGINT NOT NULL,
            started BIGINT,
            finished BIGINT,
            attempt INTEGER NOT NULL,
            worker_host TEXT NOT NULL,
            worker_pid INTEGER,
            worker_start TEXT NOT NULL,
            heartbeat BIGINT,
            progress TEXT,
            log_tail TEXT NOT NULL,
            reasons TEXT NOT NULL,
            peak_memory BIGINT,
            environment TEXT NOT NULL
        )""",
        "CREATE INDEX jobs_by_state ON jobs (state, number)",
        # Apart from the record: updates rewrite whole rows, and these may be as large as the data.
        """CREATE TABLE job_parameters (
            job_id VARCHAR(64) NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            parameters TEXT NOT NULL
        )""",
    )


def _second(database: Database) -> Sequence[str]:
    return (
        "ALTER TABLE jobs ADD COLUMN method TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN request_id TEXT NOT NULL DEFAULT ''",
        "DROP INDEX jobs_by_state",
        "CREATE INDEX jobs_by_kind ON jobs (kind, state, number)",
        "CREATE INDEX jobs_by_end ON jobs (kind, finished)",
    )


def _third(database: Database) -> Sequence[str]:
    return (
        *(
            f"ALTER TABLE jobs ADD COLUMN {column}"
            for column in (
                "priority INTEGER NOT NULL DEFAULT 0",
                "retries INTEGER NOT NULL DEFAULT 0",
                "deaths INTEGER NOT NULL DEFAULT 0",
                "beats BIGINT NOT NULL DEFAULT 0",
                "scheduler TEXT NOT NULL DEFAULT ''",
                "checkpoint TEXT NOT NULL DEFAULT ''",
                "resume_path TEXT NOT NULL DEFAULT ''",
                "retry_of VARCHAR(64) NOT NULL DEFAULT ''",
                "again_of VARCHAR(64) NOT NULL DEFAULT ''",
                "pinned INTEGER NOT NULL DEFAULT 0",
                "promotion VARCHAR(16) NOT NULL DEFAULT ''",
                "data TEXT NOT NULL DEFAULT '[]'",
                "output_bytes BIGINT",
                "removed BIGINT",
                "kept_bytes BIGINT",
            )
        ),
        # Apart from the record, which changes with each sign of life and is read with every list.
        # The column that it was in stays, empty: not every SQLite in use can drop one.
        """CREATE TABLE job_logs (
            job_id VARCHAR(64) NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            log_tail TEXT NOT NULL
        )""",
        """INSERT INTO job_logs (job_id, log_tail)
            SELECT id, log_tail FROM jobs WHERE log_tail <> ''""",
        "UPDATE jobs SET log_tail = '' WHERE log_tail <> ''",
        "DROP INDEX jobs_by_kind",
        "CREATE INDEX jobs_waiting ON jobs (kind, state, priority DESC, number)",
        "CREATE INDEX jobs_by_state ON jobs (kind, state, number, removed)",
        "DROP INDEX jobs_by_end",
        "CREATE INDEX jobs_by_end ON jobs (kind, state, finished)",
        # All that a list may be filtered by: one pass over it is faster than what an index for each
        # would save, and a new job is written into one index instead of five.
        """CREATE INDEX jobs_listed ON jobs (
            kind, removed, number, model_name, id, state, created, promotion, module_name, module_id
        )""",
        "CREATE INDEX jobs_removed ON jobs (kind, removed) WHERE removed IS NOT NULL",
    )


def _fourth(database: Database) -> Sequence[str]:
    names = database.joined(
        "'\x1e' || jobs.number || '\x1f' || "
        "replace(replace(jobs.model_name, '\x1e', '\ufffd'), '\x1f', '\ufffd') || '\x1f' || "
        "job_modules.number || '\x1f'"
    )
    ids = database.joined(
        "'\x1e' || jobs.number || '\x1f' || "
        "replace(replace(jobs.id, '\x1e', '\ufffd'), '\x1f', '\ufffd') || '\x1f'"
    )
    return (
        "ALTER TABLE jobs ADD COLUMN failure VARCHAR(16) NOT NULL DEFAULT ''",
        # What `job_names` says of a module: its number here, as its id and name are long.
        f"""CREATE TABLE job_modules (
            number {database.row_number},
            module_id TEXT NOT NULL,
            module_name TEXT NOT NULL,
            UNIQUE (module_id, module_name)
        )""",
        """INSERT INTO job_modules (module_id, module_name)
            SELECT DISTINCT module_id, module_name FROM jobs""",
        """CREATE TABLE job_names (
            kind VARCHAR(32) NOT NULL,
            block BIGINT NOT NULL,
            created_from BIGINT NOT NULL,
            created_to BIGINT NOT NULL,
            names TEXT NOT NULL,
            ids TEXT NOT NULL,
            PRIMARY KEY (kind, block)
        )""",
        f"""INSERT INTO job_names (kind, block, created_from, created_to, names, ids)
            SELECT jobs.kind, jobs.number / 64, MIN(jobs.created), MAX(jobs.created), {names}, {ids}
            FROM jobs JOIN job_modules ON job_modules.module_id = jobs.module_id
                AND job_modules.module_name = jobs.module_name
            GROUP BY jobs.kind, jobs.number / 64""",  # noqa: S608 -- constants
        """CREATE TABLE sweeps (
            kind VARCHAR(32) NOT NULL PRIMARY KEY,
            begun BIGINT NOT NULL
        )""",
        "DROP INDEX jobs_listed",
        "CREATE INDEX jobs_listed ON jobs (kind, removed, number, created)",
        "DROP INDEX jobs_by_state",
        """CREATE INDEX jobs_by_state ON jobs (
            kind, state, number, removed, model_name, id, module_name, module_id, created
        )""",
        """CREATE INDEX jobs_promoted ON jobs (kind, promotion, number)
            WHERE promotion <> ''""",
    )


def _fifth(database: Database) -> Sequence[str]:
    return (
        """CREATE TABLE models_in_use (
            server VARCHAR(32) NOT NULL,
            model TEXT NOT NULL,
            valid_to BIGINT NOT NULL,
            PRIMARY KEY (server, model)
        )""",
    )


MIGRATIONS: tuple[Migration, ...] = (
    Migration(number=1, about="jobs and their parameters", statements=_first),
    Migration(number=2, about="several kinds of jobs, and their retention", statements=_second),
    Migration(number=3, about="priorities, retries, checkpoints, removal", statements=_third),
    Migration(
        number=4,
        about="names that are searched fast, sweeps, failures",
        statements=_fourth,
    ),
    Migration(number=5, about="what other servers have loaded", statements=_fifth),
)
"""All steps, oldest first."""


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Brings the tables to the newest version and returns its number.

    One transaction: a failure on the way leaves the store as it was. A store of an earlier version
    is backed up first. One that a later Kitfox has written, or that is somebody else's database, is
    refused untouched.
    """
    with database.read() as connection:
        if _version(connection, database) == len(migrations):
            return len(migrations)
    with database.write() as connection:
        database.lock_schema(connection)
        version = _version(connection, database)
        if version > len(migrations):
            raise StoreError(
                database.name,
                f"has version {version}, made by a later Kitfox; this one knows versions up to "
                f"{len(migrations)}",
            )
        if version == 0:
            connection.change("CREATE TABLE schema_version (version INTEGER NOT NULL)")
            connection.change("INSERT INTO schema_version (version) VALUES (0)")
        elif version < len(migrations):
            log.info(
                "Version %d of the job store %s is brought to version %d; as it was it is kept: %s",
                version,
                database.name,
                len(migrations),
                database.back_up(connection, version),
                extra={"log_code": "<KFX50030I>"},
            )
        for migration in migrations[version:]:
            for statement in migration.statements(database):
                connection.change(statement)
            connection.change("UPDATE schema_version SET version = :n", n=migration.number)
    return len(migrations)


def _version(connection: Connection, database: Database) -> int:
    """The version that the store says it has; 0 for an empty database."""
    tables = database.tables(connection)
    if "schema_version" in tables:
        rows = connection.query("SELECT version FROM schema_version")
        if len(rows) == 1:
            return int(rows[0]["version"])
    if tables:
        raise StoreError(
            database.name,
            f"is no Kitfox job store: it holds other tables ({', '.join(sorted(tables)[:5])})",
        )
    return 0
