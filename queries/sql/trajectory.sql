-- A repo's revisions that match a pattern, such as training checkpoints, by the number in their names.
-- params: repo, pattern=step*, matrix=output
select
    name as revision, step, centroid_l2, centroid_ratio, dead_count, black_hole_count, dead_live_angle_deg, sha
from revisions_of($repo, $matrix)
where name glob $pattern
union all by name
-- An unknown model is an error, and not an empty answer.
select null as revision from unknown_model($repo)
order by step nulls last, revision
