"""Macros, which every connection to a catalog has: what several queries would each say anew."""

from __future__ import annotations

# By name, what follows it in CREATE MACRO.
MACROS = {
    # One row of models_history: what `repo`, or `repo@` a revision or commit, means.
    "model_at": """(wanted_model, wanted_matrix) AS TABLE
        WITH asked AS (
            -- A folder's name may hold an @, so the whole text is a repo where there is one of that name.
            SELECT
                if(exact, wanted_model, split_part(wanted_model, '@', 1)) AS name,
                if(exact, '', split_part(wanted_model, '@', 2)) AS at_revision
            FROM (SELECT EXISTS (FROM models_history WHERE repo = wanted_model) AS exact)
        ),
        resolved AS (
            SELECT attempts.sha, max(finished_at) AS resolved_at
            FROM asked JOIN attempts ON repo = name AND (at_revision = '' OR revision = at_revision)
            GROUP BY attempts.sha
        ),
        picked AS (
            SELECT models_history.*
            FROM asked JOIN models_history ON repo = name AND (
                at_revision = '' OR list_contains(revisions, at_revision) OR starts_with(sha, at_revision))
            LEFT JOIN resolved ON resolved.sha = models_history.sha
            WHERE matrix = wanted_matrix
            -- Where no revision is named, the current one; of a name that moved, where it led last. Not what
            -- was measured last: that is by the clocks of workers.
            QUALIFY row_number() OVER (ORDER BY
                (at_revision = '' AND (repo, models_history.sha, matrix) IN (
                    SELECT (repo, sha, matrix) FROM models)) DESC,
                list_contains(revisions, at_revision) DESC, resolved_at DESC NULLS LAST,
                measured_at DESC, models_history.sha) = 1
        ),
        checked AS (
            -- error() is evaluated in any case, and does nothing where its message is NULL.
            SELECT (SELECT count(*) FROM picked) = 1 OR error((
                SELECT if(
                    name IN (SELECT repo FROM models_history UNION ALL SELECT repo FROM attempts),
                    'not in the catalog as ' || wanted_matrix || ': '
                        || name || if(at_revision = '', '', '@' || at_revision),
                    not_there(name))
                FROM asked WHERE NOT EXISTS (FROM picked))) AS complete
        )
        -- A left join: the check must be made where there is nothing, too.
        SELECT picked.* FROM checked LEFT JOIN picked ON complete""",
    # How each model stands: of every revision and matrix that was tried, the last attempt.
    "last_attempts": """() AS TABLE
        WITH ranked AS (
            SELECT
                *,
                row_number() OVER (PARTITION BY repo, revision, matrix ORDER BY finished_at DESC, run_id DESC)
                    AS age,
                max(run_id) OVER (PARTITION BY repo) AS last_of_repo,
                if(listed_in IS NULL, max(run_id) OVER (), max(run_id) OVER (PARTITION BY listed_in))
                    AS last_of_list
            FROM attempts
        )
        FROM ranked SELECT * EXCLUDE (age, last_of_repo, last_of_list)
        WHERE age = 1
            -- A pattern of revisions is recorded by itself only where it failed as a whole.
            AND (NOT contains(revision, '*') OR run_id = last_of_repo)
            -- A line that named nothing was mended, if its list has been run without it since.
            AND (reason IS NULL OR run_id = last_of_list
                OR reason NOT IN ('not-a-model', 'not-found', 'revision-not-found', 'interrupted'))""",
    # What to say of a model that the catalog does not hold.
    "not_there": """(wanted) AS
        wanted || ' is not in the catalog' || coalesce((
            SELECT '; did you mean ' || string_agg(repo, ' or ' ORDER BY likeness DESC, repo) || '?'
            FROM (
                SELECT repo, jaro_winkler_similarity(lower(repo), lower(wanted)) AS likeness
                FROM (SELECT DISTINCT repo FROM models_history)
                WHERE likeness > 0.75 ORDER BY likeness DESC, repo LIMIT 3
            )), '') || ' (`survey sql "SELECT DISTINCT repo FROM models_history"` lists it)'""",
    # Nothing; an error where no model of that name was ever measured or tried. A query that may end before it
    # looks asks it at its end: UNION ALL BY NAME SELECT NULL AS repo FROM unknown_model($repo).
    "unknown_model": """(wanted) AS TABLE
        FROM (
            SELECT error(if(
                wanted IN (SELECT repo FROM models_history UNION ALL SELECT repo FROM attempts),
                NULL, not_there(wanted)
            ))::BOOLEAN AS unknown
        ) WHERE unknown""",
    # The same of a pattern of names, of which `*` may match none.
    "unknown_models": """(wanted) AS TABLE
        FROM (
            SELECT error(if(
                wanted = '*' OR EXISTS (
                    FROM (SELECT repo FROM models_history UNION ALL SELECT repo FROM attempts)
                    WHERE repo GLOB wanted
                ), NULL, not_there(wanted)
            ))::BOOLEAN AS unknown
        ) WHERE unknown""",
}


def is_macro(name: str, *, of_rows: bool) -> bool:
    """Whether there is a macro of that name which gives rows, or else a value."""
    return name in MACROS and ("AS TABLE" in MACROS[name]) == of_rows


def named_in(sql: str) -> list[str]:
    """The bodies of the macros that a statement may call, by their names in its text."""
    return [body for name, body in MACROS.items() if name in sql.lower()]
