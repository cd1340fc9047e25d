-- How many rows each revision of a repo left unchanged from the one before, by the number in their names.
-- params: repo, pattern=*, matrix=output
-- tokens of: from models_history where repo = $repo and matrix = $matrix
with steps as (
    select name, sha, vocab_rows, dtype, hidden_dim, resolved_at, step
    from revisions_of($repo, $matrix)
    where name glob $pattern
),
pairs as (
    select
        name, sha, vocab_rows, step,
        lag(name) over earlier as before,
        lag(sha) over earlier as sha_before,
        lag(vocab_rows) over earlier as rows_before,
        -- Another dtype changes every byte, which says nothing about the values.
        dtype = lag(dtype) over earlier and hidden_dim = lag(hidden_dim) over earlier as comparable
    from steps
    window earlier as (order by step nulls last, resolved_at nulls first, name)
),
their_rows as materialized (
    select sha, token_id, row_hash, coalesce(norm > 0, false) and black_hole is null as informative
    from tokens
    where repo = $repo and matrix = $matrix
),
counted as (
    select
        name,
        count(*) filter (later.row_hash = earlier.row_hash) as unchanged,
        count(*) filter (later.informative and earlier.informative) as informative_ids,
        count(*) filter (
            later.row_hash = earlier.row_hash and later.informative and earlier.informative
        ) as informative_unchanged
    from pairs
    join their_rows as later on later.sha = pairs.sha
    join their_rows as earlier on earlier.sha = pairs.sha_before and earlier.token_id = later.token_id
    where comparable
    group by name
)
select
    name as revision, before, step, vocab_rows, least(vocab_rows, rows_before) as common_ids,
    unchanged, informative_unchanged, informative_unchanged / nullif(informative_ids, 0) as share_unchanged, sha
from pairs
left join counted using (name)
union all by name
-- An unknown model is an error, and not an empty answer.
select null as revision from unknown_model($repo)
order by step nulls last, revision
