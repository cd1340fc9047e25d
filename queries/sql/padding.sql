-- Rows without a token, how many of them are dead, and the largest power of two that divides V.
-- params: matrix=output, stored_as=*
-- Rows of older versions do not say it: their per-token tables are read.
-- tokens of: from chosen_rows('*', $matrix) where class_overlaps is null
with phantom_counts as (
    select
        repo, sha,
        count(*) filter (phantom and black_hole is not null) as dead_phantoms
    from tokens
    where matrix = $matrix
    group by repo, sha, matrix
)
select
    repo, coalesce(stored_as, dtype) as stored_as, family, vocab_rows, tokenizer_size, phantom_rows,
    -- The seventh class is phantom, the first identical.
    if(phantom_rows is null, null, coalesce(class_overlaps[7][1], dead_phantoms)) as dead_phantoms,
    dead_count, if(vocab_rows > 0, vocab_rows & -vocab_rows, null)::bigint as multiple_of
from chosen_rows('*', $matrix)
left join phantom_counts using (repo, sha)
where coalesce(stored_as, dtype) glob $stored_as
order by phantom_rows desc nulls last, repo, sha
