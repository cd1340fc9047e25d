-- Rows that stand for no token: how many, how many of them are dead, and the power of two that V is padded to.
-- params: matrix=output
with beyond as (
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
    dead_count, (vocab_rows & -vocab_rows)::bigint as multiple_of
from models
left join beyond using (repo, sha, matrix)
where matrix = $matrix
order by phantom_rows desc nulls last, models.repo, models.sha
