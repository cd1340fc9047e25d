-- Families compared: how many models, how many of them with black holes, and how far off-centre.
-- params: matrix=output
with latest as (
    select family, black_hole_count, dead_live_angle_deg, centroid_ratio
    from models
    where matrix = $matrix
    qualify row_number() over (partition by repo order by measured_at desc, sha) = 1
)
select
    coalesce(family, '(unknown)') as family,
    count(*) as models,
    avg((black_hole_count > 0)::int) as share_with_black_holes,
    median(dead_live_angle_deg) as median_angle_deg,
    median(centroid_ratio) as median_centroid_ratio
from latest
group by all
order by models desc, family
