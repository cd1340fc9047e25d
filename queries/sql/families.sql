-- Families compared, each matrix once: models, how many have black holes, how far off-centre; and copies left out.
-- params: matrix=output
with latest as (
    select
        repo, family, black_hole_count, dead_live_angle_deg, centroid_ratio,
        dtype, vocab_rows, hidden_dim, rows_hash, token_norm_mean
    from models
    where matrix = $matrix
    qualify row_number() over (partition by repo order by measured_at desc, sha) = 1
),
numbered as (
    select
        family, black_hole_count, dead_live_angle_deg, centroid_ratio,
        -- The same stored rows with the same lengths: scales may tell equal rows apart.
        row_number() over (
            partition by
                family, coalesce(rows_hash::varchar, repo), dtype, vocab_rows, hidden_dim, token_norm_mean
            order by repo
        ) = 1 as is_first
    from latest
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
