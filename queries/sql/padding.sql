-- Rows without a token, how many of them are dead, and the largest power of two that divides V.
-- params: matrix=output
with phantom_counts as (
    select
        repo, sha, matrix,
        count(*) filter (phantom) as phantoms,
        count(*) filter (phantom and black_hole is not null) as dead_phantoms
    from tokens
    where matrix = $matrix
    group by repo, sha, matrix
)
select
    models.repo, family, vocab_rows, tokenizer_size, phantom_rows,
    if(phantoms is null or phantom_rows is null, null, dead_phantoms) as dead_phantoms,
    dead_count, if(vocab_rows > 0, vocab_rows & -vocab_rows, null)::bigint as multiple_of
from models
left join phantom_counts using (repo, sha, matrix)
where matrix = $matrix
order by phantom_rows desc nulls last, models.repo, models.sha
