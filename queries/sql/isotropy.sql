-- Models ranked by how much their rows point one way, with the dimensions that they use; and their spectra, if any.
-- params: matrix=output, stored_as=*
select
    models.repo, models.revision, models.matrix, stored_as, family, models.hidden_dim,
    mean_cosine, live_mean_cosine, centroid_ratio,
    variance_participation / models.hidden_dim as variance_share, top_dim_variance_share, outlier_dims,
    spectra.participation_ratio / models.hidden_dim as participation_share,
    spectra.effective_rank / models.hidden_dim as effective_share,
    spectra.pc1_share, spectra.pc1_centroid_angle_deg
from models
left join spectra using (repo, sha, matrix)
where models.matrix = $matrix and stored_as glob $stored_as
order by mean_cosine desc nulls last, centroid_ratio desc nulls last, models.repo, models.sha
