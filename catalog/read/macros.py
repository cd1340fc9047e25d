"""Macros of every connection to a catalog: definitions that several queries share."""

from __future__ import annotations

# By name, the text after it in `create macro`; a macro stands behind those that it calls.
MACROS = {
    # The message about a model that the catalog does not hold, with the nearest names.
    "not_there": """(repo_name) as
        repo_name || ' is not in the catalog' || coalesce((
            select '; did you mean ' || string_agg(repo, ' or ' order by likeness desc, repo) || '?'
            from (
                select repo, jaro_winkler_similarity(lower(repo), lower(repo_name)) as likeness
                from (select distinct repo from models_history)
                where likeness > 0.75
                order by likeness desc, repo
                limit 3
            )), '') || ' (`survey sql "SELECT DISTINCT repo FROM models_history"` lists it)'""",
    # The number in a revision's name: `stage1-step1000` is step 1000.
    "step_in": """(revision_name) as
        coalesce(
            try_cast(regexp_extract(revision_name, 'step[-_]?([0-9]+)', 1, 'i') as bigint),
            try_cast(regexp_extract(revision_name, '[0-9]+') as bigint)
        )""",
    # A vector of doubles as DuckDB can compare it: it fails at a NULL within, which a forged row may have.
    "without_nulls": """(vector) as
        list_transform(vector, lambda x: coalesce(x::double, 'nan'::double))""",
    # The angle between two vectors of doubles by Kahan's formula, which is exact for small angles. NULL if
    # they differ in length, or if one has no direction: it is zero, or beyond float32.
    "angle_between_deg": """(a, b) as
        if(
            len(a) = len(b)
                and list_dot_product(a, a) between 1e-300 and 1e300
                and list_dot_product(b, b) between 1e-300 and 1e300,
            degrees(2 * atan2(
                list_distance(
                    list_transform(a, lambda x: x / sqrt(list_dot_product(a, a))),
                    list_transform(b, lambda x: x / sqrt(list_dot_product(b, b)))
                ),
                list_distance(
                    list_transform(a, lambda x: x / sqrt(list_dot_product(a, a))),
                    list_transform(b, lambda x: -x / sqrt(list_dot_product(b, b)))
                )
            )),
            null
        )""",
    # The cosine of two vectors, in doubles; NULL if they differ in length, or if one has no direction.
    "cosine_between": """(a, b) as
        list_transform(
            [if(len(a) = len(b), list_cosine_similarity(without_nulls(a), without_nulls(b)), null)],
            lambda x: if(isfinite(x), x, null)
        )[1]""",
    # Whether rows in common make two matrices relatives: half of one's informative rows do; fewer may be
    # reserved tokens that unrelated models initialised alike, unless both clouds lie in one direction.
    "rows_relate": """(share_of_one, share_of_other, cosine_of_centroids) as
        greatest(share_of_one, share_of_other) >= 0.5
            or (greatest(share_of_one, share_of_other) >= 0.01 and cosine_of_centroids >= 0.9)""",
    # Repository and revision (empty if none) that a text names: `repo`, or `repo@` a revision or commit. A
    # folder's name may hold an @, so the whole text is a repository if there is one of that name.
    "requested_model": """(model_name) as table
        select
            if(exact, model_name, split_part(model_name, '@', 1)) as name,
            if(exact or not contains(model_name, '@'), '', substr(model_name, strpos(model_name, '@') + 1))
                as at_revision
        from (
            select exists (
                from (select repo from models_history union all select repo from attempts)
                where repo = model_name
            ) as exact
        )""",
    # The rows of models_history that a repository has at a revision or a commit, of each matrix; a name that
    # moved has several. An empty revision is any.
    "rows_at": """(repo_name, revision_name) as table
        select models_history.*
        from models_history
        where repo = repo_name
            and (
                revision_name = ''
                or list_contains(revisions, revision_name)
                or starts_with(models_history.sha, revision_name)
            )""",
    # One of these rows, or none: of the matrix, at the commit to which the revision led last. An empty
    # revision is the current one.
    "commit_at": """(repo_name, revision_name, matrix_name) as table
        select candidates.* exclude (is_current, has_name, resolved_at)
        from (
            select
                named.*,
                revision_name = '' and current_sha is not null as is_current,
                list_contains(revisions, revision_name) as has_name,
                resolved_at
            from rows_at(repo_name, revision_name) as named
            left join (
                select models.sha as current_sha
                from models
                where repo = repo_name and matrix = matrix_name
            ) on current_sha = named.sha
            left join (
                select attempts.sha as resolved_sha, max(finished_at) as resolved_at
                from attempts
                where repo = repo_name and (revision_name = '' or revision = revision_name)
                group by attempts.sha
            ) on resolved_sha = named.sha
            where named.matrix = matrix_name
        ) as candidates
        -- A name comes before a commit that begins like it. If a name moved, the attempts say where it led
        -- last; the time of measurement does not, as it is by the clocks of workers.
        qualify row_number() over (
            order by is_current desc, has_name desc, resolved_at desc nulls last, measured_at desc, sha
        ) = 1""",
    # Every row that `repo`, or `repo@` a revision or commit, means: of each matrix, the current commit, or
    # those to which the revision led.
    "model_rows": """(model_name) as table
        with requested as (
            from requested_model(model_name)
        ),
        named as (
            from rows_at((select name from requested), (select at_revision from requested))
        )
        select named.*
        from named, requested
        where at_revision <> ''
            or (sha, matrix) in (select (sha, matrix) from models where repo in (select name from requested))
            -- If only patterns of revisions were surveyed, no row is the current one.
            or not exists (from models where repo in (select name from requested))""",
    # One row of models_history: what `repo`, or `repo@` a revision or commit, means; else an error.
    "model_at": """(model_name, matrix_name) as table
        with requested as (
            from requested_model(model_name)
        ),
        picked as (
            from commit_at(
                (select name from requested), (select at_revision from requested), matrix_name
            )
        ),
        checked as (
            -- error() is evaluated in any case, and does nothing if its message is NULL.
            select (select count(*) from picked) = 1 or error((
                select if(
                    name in (select repo from models_history union all select repo from attempts),
                    'not in the catalog as ' || matrix_name || ': '
                        || name || if(at_revision = '', '', '@' || at_revision),
                    not_there(name)
                )
                from requested
                where not exists (from picked)
            )) as complete
        )
        -- A left join, so that the check is made even if there is nothing.
        select picked.* from checked left join picked on complete""",
    # Every revision of a repository with the commit to which it led last and the step in its name.
    "revisions_of": """(repo_name, matrix_name) as table
        select
            named.name,
            named.* exclude (name),
            resolved_at,
            step_in(named.name) as step
        from (
            select unnest(revisions) as name, models_history.*
            from models_history
            where repo = repo_name and matrix = matrix_name
        ) as named
        left join (
            select
                attempts.revision as resolved_name,
                attempts.sha as resolved_sha,
                max(finished_at) as resolved_at
            from attempts
            where repo = repo_name
            group by attempts.revision, attempts.sha
        ) on resolved_name = named.name and resolved_sha = named.sha
        qualify row_number() over (
            partition by named.name order by resolved_at desc nulls last, measured_at desc, named.sha
        ) = 1""",
    # The last attempt at every revision and matrix that was tried.
    "last_attempts": """() as table
        with ranked as (
            select
                *,
                row_number() over (partition by repo, revision, matrix order by finished_at desc, run_id desc)
                    as age,
                max(run_id) over (partition by repo) as last_of_repo,
                if(listed_in is null, max(run_id) over (), max(run_id) over (partition by listed_in))
                    as last_of_list
            from attempts
        )
        from ranked
        select * exclude (age, last_of_repo, last_of_list)
        where age = 1
            -- A pattern of revisions has an attempt of its own only if it failed as a whole.
            and (not contains(revision, '*') or run_id = last_of_repo)
            -- A line that named no model counts as corrected once its list was run without it.
            and (
                reason is null
                or run_id = last_of_list
                or reason not in ('not-a-model', 'not-found', 'revision-not-found', 'interrupted')
            )""",
    # No rows; an error if no model of that name was ever measured or tried. A query whose answer may be empty
    # ends with it: union all by name select null as repo from unknown_model($repo).
    "unknown_model": """(repo_name) as table
        from (
            select error(if(
                repo_name in (select repo from models_history union all select repo from attempts),
                null,
                not_there(repo_name)
            ))::boolean as unknown
        )
        where unknown""",
    # The same for a pattern of names; `*` may match none.
    "unknown_models": """(repo_pattern) as table
        from (
            select error(if(
                repo_pattern = '*' or exists (
                    from (select repo from models_history union all select repo from attempts)
                    where repo glob repo_pattern
                ),
                null,
                not_there(repo_pattern)
            ))::boolean as unknown
        )
        where unknown""",
}


def is_macro(name: str, *, of_rows: bool) -> bool:
    """Whether a macro has this name and gives rows (of_rows) or a value."""
    return name in MACROS and (") as table\n" in MACROS[name]) == of_rows


def named_in(sql: str) -> list[str]:
    """The bodies of the macros that a statement may call, also through others: by the names in its text."""
    bodies: dict[str, str] = {}
    texts = [sql.lower()]
    while texts:
        text = texts.pop()
        called = {name: body for name, body in MACROS.items() if name in text and name not in bodies}
        bodies |= called
        texts += called.values()
    return list(bodies.values())
