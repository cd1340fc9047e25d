-- A repo's revisions that match a pattern, such as training checkpoints, by the number in their names.
-- params: repo, pattern=step*, matrix=output
with named as (
    select
        unnest(revisions) as name,
        sha, centroid_l2, centroid_ratio, dead_count, black_hole_count, dead_live_angle_deg, measured_at
    from models_history
    where repo = $repo and matrix = $matrix
),
resolved as (
    select revision, sha, max(finished_at) as resolved_at
    from attempts
    where repo = $repo
    group by revision, sha
),
latest as (
    select
        name, named.sha, centroid_l2, centroid_ratio, dead_count, black_hole_count, dead_live_angle_deg,
        -- `stage1-step1000` is step 1000.
        coalesce(
            try_cast(regexp_extract(name, 'step[-_]?([0-9]+)', 1, 'i') as bigint),
            try_cast(regexp_extract(name, '[0-9]+') as bigint)
        ) as step
    from named
    left join resolved on resolved.revision = name and resolved.sha = named.sha
    where name glob $pattern
    qualify row_number() over (
        partition by name order by resolved_at desc nulls last, measured_at desc, named.sha
    ) = 1
)
select
    name as revision, step, centroid_l2, centroid_ratio, dead_count, black_hole_count, dead_live_angle_deg, sha
from latest
union all by name
-- An unknown model is an error, and not an empty answer.
select null as revision from unknown_model($repo)
order by step nulls last, revision
