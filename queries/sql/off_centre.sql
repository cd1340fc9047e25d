-- Models ranked by how far their cloud of rows lies off-centre (centroid length / mean row length).
-- params: matrix=output, stored_as=*
select
    repo, revision, matrix, stored_as, family, vocab_rows, hidden_dim, centroid_ratio, centroid_l2, token_norm_mean
from models
where matrix = $matrix and stored_as glob $stored_as
order by centroid_ratio desc nulls last, repo, sha
