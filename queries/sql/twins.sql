-- Groups of models whose matrices hold identical values, in one dtype or in several; the widest first.
-- params: matrix=output, stored_as=*
with matrices as (
    select distinct on (repo, dtype, vocab_rows, hidden_dim, rows_hash)
        repo, dtype, vocab_rows, hidden_dim, rows_hash, base_model, token_norm_mean,
        values_hash_of(values_hash, rows_hash, dtype) as known_values
    from models
    -- If no row is informative (all are zero, say), equality says nothing.
    where matrix = $matrix and informative_rows > 0 and stored_as glob $stored_as
    order by repo, dtype, vocab_rows, hidden_dim, rows_hash, base_model
),
compared as (
    select
        *,
        -- Rows of older versions have the values of those with the same bytes and lengths: a scale changes these.
        coalesce(
            known_values::varchar,
            max(known_values) over same_bytes::varchar,
            concat_ws(' ', dtype, rows_hash, token_norm_mean)
        ) as all_values
    from matrices
    window same_bytes as (partition by dtype, vocab_rows, hidden_dim, rows_hash, token_norm_mean)
),
heads as (
    select
        *,
        count(*) over same as twins,
        count(*) over (partition by all_values, dtype, vocab_rows, hidden_dim, rows_hash) as same_bytes,
        min(repo) over same as first_repo
    from compared
    window same as (partition by all_values, vocab_rows, hidden_dim)
)
select
    dense_rank() over (order by twins desc, first_repo, all_values) as "group", twins, same_bytes, repo,
    base_model, dtype, vocab_rows, hidden_dim, rows_hash
from heads
where twins > 1
order by "group", repo
