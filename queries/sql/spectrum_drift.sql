-- The spectrum of a repo's revisions, by the step in their names: each change is against the line before.
-- params: repo, matrix=output
select
    repo, revision,
    spectral_norm, spectral_norm - lag(spectral_norm) over revisions as spectral_norm_change,
    effective_rank, effective_rank - lag(effective_rank) over revisions as effective_rank_change,
    stable_rank, condition, pc1_share, pc1_centroid_angle_deg, alpha, live_effective_rank, sha
from spectra
where repo = $repo and matrix = $matrix
window revisions as (order by step_in(revision) nulls last, made_at, sha)
union all by name
-- An unknown model is an error, and not an empty answer; one of which only the spectrum is known is none.
select null as repo from unknown_model((select $repo where $repo not in (select repo from spectra)))
order by step_in(revision) nulls last, sha
