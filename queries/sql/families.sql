-- Families compared, each model once: models, how many have black holes, how far off-centre; and copies left out.
-- params: matrix=output, stored_as=*
with latest as (
    select
        repo, family, black_hole_count, dead_live_angle_deg, centroid_ratio,
        dtype, vocab_rows, hidden_dim, rows_hash, token_norm_mean, quantised, bits_per_weight, base_model,
        -- The name without the labels of quantisations: Qwen3-4B of unsloth/Qwen3-4B-GGUF or Qwen3-4B-MLX-4bit.
        regexp_replace(
            lower(split_part(split_part(repo, ':', 1), '/', -1)),
            '([-_.](gguf|mlx|[2-8]-?bits?|i?q[1-8](_[0-9ksmlx]+)*|(b?f|fp|int|mxfp|nvfp|nf|w)[0-9]+(a[0-9]+)?|bnb|i1|imatrix|unsloth|quantized|dwq|torchao))+$',
            ''
        ) as plain_name
    from models
    where matrix = $matrix and stored_as glob $stored_as
    qualify row_number() over (partition by repo order by measured_at desc, sha) = 1
),
-- Whole models, and base models that a card states, by their names.
originals as (
    select split_part(original, '/', -1) as plain_name, min(original) as original
    from (
        select lower(repo) as original from latest where not quantised
        union all
        select lower(base_model) from latest where quantised and base_model is not null
    )
    group by all
),
-- What was quantised: the model of the card, else the one of this name.
derived as (
    select
        latest.*,
        case
            when not quantised then lower(repo)
            else coalesce(lower(base_model), original, plain_name)
        end as made_from
    from latest
    left join originals using (plain_name)
),
-- A model that was quantised again.
grouped as (
    select derived.*, coalesce(before.made_from, derived.made_from) as model
    from derived
    left join (select lower(repo) as made_from_repo, made_from from derived where quantised) as before
        on derived.quantised and derived.made_from = made_from_repo
),
numbered as (
    select
        first_value(family) over one_model as family,
        black_hole_count, dead_live_angle_deg, centroid_ratio,
        row_number() over one_model = 1
            -- The same stored rows with the same lengths: scales may tell equal rows apart.
            and row_number() over (
                partition by
                    family, coalesce(rows_hash::varchar, repo), dtype, vocab_rows, hidden_dim, token_norm_mean
                order by repo
            ) = 1 as is_first
    from grouped
    window one_model as (partition by model order by quantised, bits_per_weight desc, repo)
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
