-- Models ranked by how far their rows are from pointing everywhere alike: dimensions in use, and the way they lean.
-- params: matrix=output, stored_as=*
select
    models.repo, models.revision, models.matrix, stored_as, family, models.hidden_dim, centroid_ratio,
    spectra.participation_ratio / models.hidden_dim as participation_share,
    spectra.live_participation_ratio / models.hidden_dim as live_participation_share,
    spectra.effective_rank / models.hidden_dim as effective_share,
    spectra.pc1_share, spectra.pc1_centroid_angle_deg
from models
left join spectra using (repo, sha, matrix)
where models.matrix = $matrix and stored_as glob $stored_as
order by participation_share nulls last, centroid_ratio desc nulls last, models.repo, models.sha
