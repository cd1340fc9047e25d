-- Angle between the dead and the live centroid, widest first; models without dead rows are left out.
-- params: stored_as=*
select
    repo, revision, matrix, stored_as, family, dead_count, dead_live_angle_deg, dead_live_cosine,
    dead_centroid_l2, live_centroid_l2, black_hole_mean_cosine
from models
where dead_live_angle_deg is not null and stored_as glob $stored_as
order by dead_live_angle_deg desc, repo, sha, matrix
