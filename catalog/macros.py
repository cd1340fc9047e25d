"""Table macros, which every connection to a catalog has: what several queries would each say anew."""

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
            SELECT (SELECT count(*) FROM picked) = 1 OR error(
                'not in the catalog as ' || wanted_matrix || ': '
                || (SELECT name || if(at_revision = '', '', '@' || at_revision)
                    FROM asked WHERE NOT EXISTS (FROM picked))) AS complete
        )
        -- A left join: the check must be made where there is nothing, too.
        SELECT picked.* FROM checked LEFT JOIN picked ON complete""",
}


def named_in(sql: str) -> list[str]:
    """The bodies of the macros that a statement may call, by their names in its text."""
    return [body for name, body in MACROS.items() if name in sql.lower()]
