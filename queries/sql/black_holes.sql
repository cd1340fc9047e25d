-- Models with black holes (identical rows), those with the most dead rows first.
-- params: min_dead=2, stored_as=*
select
    repo, revision, matrix, stored_as, family, vocab_rows, black_hole_count, dead_count, dead_fraction,
    black_hole_sizes
from models
where dead_count >= $min_dead and stored_as glob $stored_as
order by dead_count desc, repo, sha, matrix
