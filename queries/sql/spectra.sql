-- Families compared by the spectra of their matrices, each model once: medians, ranks as shares of the hidden size.
-- params: matrix=output, stored_as=*
select
    coalesce(family_of_original, '(unknown)') as family,
    count(*) as models,
    median(spectra.effective_rank / spectra.hidden_dim) as effective_share,
    median(spectra.live_effective_rank / spectra.hidden_dim) as live_effective_share,
    median(spectra.stable_rank) as stable_rank,
    median(spectra.participation_ratio / spectra.hidden_dim) as participation_share,
    median(spectra.condition) as condition,
    median(spectra.pc1_share) as pc1_share,
    median(spectra.pc1_centroid_angle_deg) as pc1_centroid_angle_deg,
    median(spectra.alpha) as alpha
from counted_models($stored_as) as counted
join spectra using (repo, sha, matrix)
where matrix = $matrix and place = 1
group by all
order by models desc, family
