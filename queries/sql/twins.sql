-- Groups of models whose matrices are identical, bit for bit; the widest first.
-- params: matrix=output, stored_as=*
with heads as (
    select
        repo, dtype, vocab_rows, hidden_dim, rows_hash, base_model,
        count(*) over same as twins,
        min(repo) over same as first_repo
    from (
        select distinct on (repo, dtype, vocab_rows, hidden_dim, rows_hash)
            repo, dtype, vocab_rows, hidden_dim, rows_hash, base_model
        from models
        -- If no row is informative (all are zero, say), equality says nothing.
        where matrix = $matrix and informative_rows > 0 and stored_as glob $stored_as
        order by repo, dtype, vocab_rows, hidden_dim, rows_hash, base_model
    )
    window same as (partition by dtype, vocab_rows, hidden_dim, rows_hash)
)
select dense_rank() over (order by twins desc, first_repo, rows_hash) as "group", twins, repo, base_model, dtype, vocab_rows, hidden_dim, rows_hash
from heads
where twins > 1
order by "group", repo
