-- Families compared: how many models, how many of them with black holes, and how far off-centre.
-- params: matrix=output
select
    coalesce(family, '(unknown)') as family,
    count(*) as models,
    count(*) filter (black_hole_count > 0) as with_black_holes,
    round(avg((black_hole_count > 0)::int), 3) as share_with_black_holes,
    median(dead_fraction) as median_dead_fraction,
    median(dead_live_angle_deg) as median_angle_deg,
    median(centroid_ratio) as median_centroid_ratio
from models
where matrix = $matrix
group by all
order by models desc, family
