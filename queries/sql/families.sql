-- Families compared, each model once: models, how many have black holes, how far off-centre; and copies left out.
-- params: matrix=output, stored_as=*
with compared as (
    select
        *, values_hash_of(values_hash, rows_hash, dtype) as known_values,
        -- The same values, whatever the dtype; of older rows, the same bytes with the same lengths, as scales may
        -- tell equal bytes apart; else a model of its own.
        coalesce(
            known_values::varchar,
            max(known_values) over same_bytes::varchar,
            concat_ws(' ', dtype, coalesce(rows_hash::varchar, repo), token_norm_mean)
        ) as all_values
    from counted_models($stored_as)
    where matrix = $matrix
    window same_bytes as (partition by dtype, vocab_rows, hidden_dim, rows_hash, token_norm_mean)
),
numbered as (
    select
        family_of_original as family,
        black_hole_count, dead_live_angle_deg, centroid_ratio,
        place = 1
            and row_number() over (
                partition by family_of_original, all_values, vocab_rows, hidden_dim order by place, repo
            ) = 1 as is_first
    from compared
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
