"""Macros of every connection to a catalog: definitions that several queries share."""

from __future__ import annotations

from catalog.read.statement_text import names_in
from catalog.read.views import history_body, models_body
from survey.records.value_dtypes import FLOAT_CODES, value_mark


def _value_marks(dtype: str) -> str:
    """What marks hashes of rows in a dtype, as SQL; NULL of others."""
    marks = " ".join(f"when '{code}' then {value_mark(code)}::ubigint" for code in FLOAT_CODES)
    return f"case {dtype} {marks} end"


# What uploaders add to a model's name if they quantise it.
_QUANTISATIONS = (
    "gguf|mlx|[2-8]-?bits?|ud|(i|t)?q[1-8](_[0-9ksmnlx]+)*|(b?f|fp|int|mxfp|nvfp|nf|w)[0-9]+(a[0-9]+)?(_moe)?"
    "|bnb|i1|imat(rix)?|unsloth|quantized|dwq|torchao"
)
# By name, the text after it in `create macro`; a macro stands behind those that it calls.
MACROS = {
    # The message about a model that the catalog does not hold, with the nearest names.
    "not_there": """(repo_name) as
        repo_name || ' is not in the catalog' || coalesce((
            select '; did you mean ' || string_agg(repo, ' or ' order by likeness desc, repo) || '?'
            from (
                select repo, jaro_winkler_similarity(lower(repo), lower(repo_name)) as likeness
                from (select distinct repo from measured_rows)
                where likeness > 0.75
                order by likeness desc, repo
                limit 3
            )), '') || ' (`survey sql "SELECT DISTINCT repo FROM models_history"` lists it)'""",
    # The rows of three lists side by side. A join with them reads the files of these rows alone.
    "each_key": """(repos, shas, matrices) as table
        select unnest(repos) as repo, unnest(shas) as sha, unnest(matrices) as matrix""",
    # The number in a revision's name: `stage1-step1000` is step 1000.
    "step_in": """(revision_name) as
        coalesce(
            try_cast(regexp_extract(revision_name, 'step[-_]?([0-9]+)', 1, 'i') as bigint),
            try_cast(regexp_extract(revision_name, '[0-9]+') as bigint)
        )""",
    # A vector of doubles as DuckDB can compare it: it fails at a NULL within, which a forged row may have.
    "without_nulls": """(vector) as
        list_transform(vector, lambda x: coalesce(x::double, 'nan'::double))""",
    # The distance between two vectors of doubles; NULL if they differ in length, are empty, have a
    # NULL within, or lie further apart than float64 can tell.
    "distance_between": """(a, b) as
        list_transform(
            [if(len(a) = len(b) and len(a) > 0, list_distance(without_nulls(a), without_nulls(b)), null)],
            lambda x: if(isfinite(x), x, null)
        )[1]""",
    # A vector of doubles divided by its length, which is computed once; NaN alone if it has no direction: it
    # is zero, beyond float32, or has a NULL within.
    "direction_of": """(vector) as
        list_transform(
            list_transform(
                [without_nulls(vector)],
                lambda v: {'v': v, 'square': list_dot_product(v, v)}
            ),
            lambda given: list_transform(
                given.v,
                lambda x: x / sqrt(if(given.square between 1e-300 and 1e300, given.square, 'nan'::double))
            )
        )[1]""",
    # The angle between two vectors of doubles by Kahan's formula, which is exact for small angles. NULL if
    # they differ in length, or if one has no direction.
    "angle_between_deg": """(a, b) as
        degrees(2 * atan2(
            distance_between(direction_of(a), direction_of(b)),
            distance_between(direction_of(a), list_transform(direction_of(b), lambda x: -x))
        ))""",
    # The cosine of two vectors, in doubles; NULL if they differ in length, or if one has no direction.
    "cosine_between": """(a, b) as
        list_transform(
            [if(len(a) = len(b), list_cosine_similarity(without_nulls(a), without_nulls(b)), null)],
            lambda x: if(isfinite(x), x, null)
        )[1]""",
    # Up to which hash a sketch holds all: it is full, or holds those of all rows.
    "sketch_bound": """(sketch, rows_in_all) as if(len(sketch) < rows_in_all, sketch[-1], ~0::ubigint)""",
    # The hash of all values, whatever the dtype; of bfloat16 that of all rows, also in rows of old versions.
    "values_hash_of": """(stored_hash, all_rows_hash, stored_dtype) as
        coalesce(stored_hash, if(stored_dtype = 'BF16', all_rows_hash, null))""",
    # The hash of a row's values, whatever the dtype; NULL if it is not known, or of a quantised row.
    "value_hash_of": f"""(stored_hash, one_row_hash, stored_dtype, is_known) as
        case
            when stored_dtype = 'BF16' then one_row_hash
            when is_known then coalesce(stored_hash, xor(one_row_hash, {_value_marks("stored_dtype")}))
        end""",
    # Whether rows in common make two matrices relatives: nine tenths of one's informative rows do, and half
    # of them unless the clouds lie in unlike directions; fewer may be reserved tokens that unrelated models
    # initialised alike, unless both clouds lie in one direction.
    "rows_relate": """(share_of_one, share_of_other, cosine_of_centroids) as
        greatest(share_of_one, share_of_other) >= 0.9
            or (greatest(share_of_one, share_of_other) >= 0.5 and coalesce(cosine_of_centroids >= 0.25, true))
            or (greatest(share_of_one, share_of_other) >= 0.01 and cosine_of_centroids >= 0.9)""",
    # How far a quantisation moves the lengths of rows of D elements, as a share: none of 16 bits or more.
    # Measured on planted matrices (tests/support/quantisations.py): rounding moves an element by 1.4 / 2^bits
    # of the row's, floats of 8 and 4 bits by 0.027 and 0.12; a length by less than 5 of these / √D, outlying
    # dimensions included, and, as the moves add up to longer or shorter rows, by 1.5 of their squares.
    "length_error": """(format, bits, dims) as
        if(bits < 16, list_transform(
            [case
                when regexp_matches(lower(format), 'e5m2') then 0.054
                when regexp_matches(lower(format), 'f8_|fp8') then 0.027
                when regexp_matches(lower(format), 'fp4|nf4') then 0.13
                else 1.4 / pow(2, floor(bits))
            end],
            lambda x: 5 * x / sqrt(dims) + 1.5 * x * x
        )[1], 0)""",
    # A model's name without the labels of quantisations: `qwen3-4b` of unsloth/Qwen3-4B-GGUF, and of the file
    # Qwen3-4B-Q4_0.gguf that was named in a repository, or lies in a folder. The whole name of the repository
    # if nothing else is left.
    "plain_name": f"""(repo_name, file_name) as
        list_transform(
            [lower(if(
                ends_with(repo_name, '.gguf') or (ends_with(file_name, '.gguf') and repo_name[1] = '/'),
                regexp_replace(split_part(file_name, '/', -1), '(-[0-9]{{5}}-of-[0-9]{{5}})?\\.gguf$', ''),
                split_part(split_part(repo_name, ':', 1), '/', -1)
            ))],
            lambda x: list_transform(
                [regexp_replace(x, '([-_.]({_QUANTISATIONS}))+$', '')],
                lambda y: if(
                    regexp_full_match(y, '(ggml[-_])?models?|output|{_QUANTISATIONS}|'),
                    lower(repo_name),
                    y
                )
            )[1]
        )[1]""",
    # The newest row of each repository and matrix of this format, and which of them are one model: `original`
    # is the same for a model and its quantisations, by the card's base_model, then by name. place: 1 for the
    # original or, if it is not there, for the quantisation with the most bits.
    "counted_models": """(format) as table
        with latest as (
            select
                *,
                plain_name(repo, file) as plain,
                -- A file of llama.cpp was made from another model, even if its matrix is not quantised.
                coalesce(quantised, false) or ends_with(file, '.gguf') as is_derived
            from models
            where stored_as glob format
            qualify row_number() over (partition by repo, matrix order by measured_at desc, sha) = 1
        ),
        -- Whole models, and base models that a card states, by their names.
        originals as (
            select plain, matrix, min(original) as original
            from (
                select plain, matrix, lower(repo) as original from latest where not is_derived
                union all
                select plain_name(base_model, ''), matrix, lower(base_model)
                from latest
                where is_derived and base_model is not null
            )
            group by all
        ),
        derived as (
            select
                latest.*,
                if(is_derived, coalesce(lower(base_model), original, plain), lower(repo)) as made_from
            from latest
            left join originals using (plain, matrix)
        ),
        -- What was made from a model that was itself quantised was made from that one's original.
        grouped as (
            select derived.*, coalesce(before.made_from, derived.made_from) as original
            from derived
            left join (
                select lower(repo) as source, matrix, made_from from derived where is_derived
            ) as before
                on is_derived and derived.made_from = source and derived.matrix = before.matrix
        )
        select
            * exclude (plain, is_derived, made_from),
            row_number() over one_model as place,
            first_value(family) over one_model as family_of_original
        from grouped
        window one_model as (
            partition by original, matrix order by is_derived, quantised, bits_per_weight desc, repo
        )""",
    # Repository and revision (empty if none) that a text names: `repo`, or `repo@` a revision or commit. A
    # folder's name may hold an @, so the whole text is a repository if there is one of that name.
    "requested_model": """(model_name) as table
        select
            if(exact, model_name, split_part(model_name, '@', 1)) as name,
            if(exact or not contains(model_name, '@'), '', substr(model_name, strpos(model_name, '@') + 1))
                as at_revision
        from (
            select exists (
                from (select repo from measured_rows union all select repo from attempts)
                where repo = model_name
            ) as exact
        )""",
    # The views of one repository: where a name is the answer of another question, DuckDB would make the views
    # of all, and then choose.
    "history_of": f"""(repo_name) as table {history_body("repo = repo_name")}""",
    "models_of": f"""(repo_name) as table {models_body("repo = repo_name")}""",
    # The rows of models_history that a repository has at a revision or a commit, of each matrix; a name that
    # moved has several. An empty revision is any.
    "rows_at": """(repo_name, revision_name) as table
        select history.*
        from history_of(repo_name) as history
        where revision_name = ''
            or list_contains(revisions, revision_name)
            or starts_with(history.sha, revision_name)""",
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
                select current.sha as current_sha
                from models_of(repo_name) as current
                where matrix = matrix_name
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
        order by is_current desc, has_name desc, resolved_at desc nulls last, measured_at desc, sha
        limit 1""",
    # The current rows of repositories whose names match a pattern, with their nested columns.
    "chosen_rows": """(repo_pattern, matrix_name) as table
        from measured_rows
        semi join (
            select repo, sha, matrix from models where repo glob repo_pattern and matrix = matrix_name
        ) using (repo, sha, matrix)""",
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
            or (sha, matrix) in (select (sha, matrix) from models_of((select name from requested)))
            -- If only patterns of revisions were surveyed, no row is the current one.
            or not exists (from models_of((select name from requested)))""",
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
                    name in (select repo from measured_rows union all select repo from attempts),
                    'not in the catalog as ' || matrix_name || ': '
                        || name || if(at_revision = '', '', '@' || at_revision),
                    not_there(name)
                )
                from requested
                where not exists (from picked)
            )) as complete
        )
        -- A left join, so that the check is made even if there is nothing.
        -- The limit tells DuckDB that there is one row: it reads other columns of this row alone.
        select picked.* from checked left join picked on complete limit 1""",
    # Every revision of a repository with the commit to which it led last and the step in its name.
    "revisions_of": """(repo_name, matrix_name) as table
        select
            named.name,
            named.* exclude (name),
            resolved_at,
            step_in(named.name) as step
        from (
            select unnest(revisions) as name, history.*
            from history_of(repo_name) as history
            where matrix = matrix_name
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
    # The last attempt at every revision and matrix that was tried. Its time is found first, from few columns:
    # a window over all attempts of a year would hold them in memory.
    "last_attempts": """() as table
        with newest as (
            select repo, revision, matrix, max(finished_at) as finished_at
            from attempts
            group by all
        ),
        last as (
            from attempts
            where exists (
                from newest
                where newest.repo is not distinct from attempts.repo
                    and newest.revision is not distinct from attempts.revision
                    and newest.matrix is not distinct from attempts.matrix
                    and newest.finished_at is not distinct from attempts.finished_at
            )
            qualify row_number() over (partition by repo, revision, matrix order by run_id desc) = 1
        ),
        repos as (
            select repo, max(run_id) as last_of_repo from attempts group by repo
        ),
        lists as (
            select listed_in, max(run_id) as last_of_list from attempts group by listed_in
        )
        select last.*
        from last
        left join repos on repos.repo is not distinct from last.repo
        left join lists on lists.listed_in = last.listed_in
            -- A pattern of revisions has an attempt of its own only if it failed as a whole.
        where (not contains(revision, '*') or run_id = last_of_repo)
            -- A line that named no model counts as corrected once its list was run without it.
            and (
                reason is null
                or run_id = if(last.listed_in is null, (select max(run_id) from attempts), last_of_list)
                or reason not in ('not-a-model', 'not-found', 'revision-not-found', 'interrupted')
            )""",
    # No rows; an error if no model of that name was ever measured or tried. A query whose answer may be empty
    # ends with it: union all by name select null as repo from unknown_model($repo).
    "unknown_model": """(repo_name) as table
        from (
            select error(if(
                repo_name in (select repo from measured_rows union all select repo from attempts),
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
                    from (select repo from measured_rows union all select repo from attempts)
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


def named_in(sql: str) -> dict[str, str]:
    """The macros that a statement may call, also through others, by the words of its text; in their order."""
    bodies: dict[str, str] = {}
    texts = [sql]
    while texts:
        words = names_in(texts.pop())
        called = {name: body for name, body in MACROS.items() if name in words and name not in bodies}
        bodies |= called
        texts += called.values()
    return {name: MACROS[name] for name in MACROS if name in bodies}
