-- Families compared, each model once: models, how many have black holes, how far off-centre; and copies left out.
-- params: matrix=output, stored_as=*
with numbered as (
    select
        family_of_original as family,
        black_hole_count, dead_live_angle_deg, centroid_ratio,
        place = 1
            -- The same stored rows with the same lengths: scales may tell equal rows apart.
            and row_number() over (
                partition by
                    family_of_original, coalesce(rows_hash::varchar, repo), dtype, vocab_rows, hidden_dim,
                    token_norm_mean
                order by place, repo
            ) = 1 as is_first
    from counted_models($stored_as)
    where matrix = $matrix
)
select
    coalesce(family, '(unknown)') as family,
    count(*) filter (is_first) as models,
    avg((black_hole_count > 0)::int) filter (is_first) as share_with_black_holes,
    median(dead_live_angle_deg) filter (is_first) as median_angle_deg,
    median(centroid_ratio) filter (is_first) as median_centroid_ratio,
    count(*) filter (not is_first) as copies
from numbered
group by all
order by models desc, family
