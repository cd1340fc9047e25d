-- Models ranked by how far their cloud of rows lies off-centre (centroid length / mean row length).
-- params: matrix=output
select repo, revision, matrix, family, vocab_rows, hidden_dim, centroid_ratio, centroid_l2, token_norm_mean
from models
where matrix = $matrix
order by centroid_ratio desc nulls last, repo, sha
