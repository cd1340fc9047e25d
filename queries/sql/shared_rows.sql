-- How many rows of a are in b bit for bit, or in another dtype; name each as repo or repo@revision.
-- params: a, b, matrix=output
-- tokens of: from model_at($a, $matrix)
-- tokens of: from model_at($b, $matrix)
with sides as (
    select 1 as side, one.* from model_at($a, $matrix) as one
    union all
    select 2, other.* from model_at($b, $matrix) as other
),
compared as (
    -- Another dtype changes every byte, and a scale may make other values of the same ones: then the hashes of
    -- values are compared.
    select
        count(distinct dtype) = 1
            and not coalesce(bool_or(scale is not null) and bool_and(values_hash is not null), false) as by_bytes
    from sides
),
their_rows as materialized (
    select
        side, token_id, norm,
        if(by_bytes, row_hash, value_hash_of(value_hash, row_hash, dtype, values_hash is not null)) as row_hash,
        -- Not rows that unrelated models have in common: zero, not finite, or in a black hole.
        coalesce(norm > 0, false) and black_hole is null as informative
    from sides
    cross join compared
    join tokens using (repo, sha, matrix)
),
pair as (
    select
        any_value(repo || '@' || revision) filter (side = 1) as a,
        any_value(repo || '@' || revision) filter (side = 2) as b,
        any_value(vocab_rows) filter (side = 1) as rows_a,
        any_value(vocab_rows) filter (side = 2) as rows_b,
        any_value(dtype) filter (side = 1) as dtype_a,
        any_value(dtype) filter (side = 2) as dtype_b,
        any_value(stored_as) filter (side = 1) as stored_as_a,
        any_value(stored_as) filter (side = 2) as stored_as_b,
        any_value(bits_per_weight) filter (side = 1) as bits_a,
        any_value(bits_per_weight) filter (side = 2) as bits_b,
        bool_and(dtype = 'BF16' or (values_hash is not null and not quantised)) as values_known,
        -- The same bytes of another layout of the same name are other values.
        count(distinct values_hash) < 2 or dtype_a <> dtype_b as may_be_identical,
        any_value(hidden_dim) filter (side = 1) as dims_a,
        any_value(hidden_dim) filter (side = 2) as dims_b,
        least(rows_a, rows_b) as common_ids
    from sides
),
known as (
    select
        nullif(count(*) filter (side = 1), 0) as stored_a,
        nullif(count(*) filter (side = 2), 0) as stored_b,
        if(stored_a > 0, count(*) filter (side = 1 and informative), null) as informative_a,
        if(stored_b > 0, count(*) filter (side = 2 and informative), null) as informative_b
    from their_rows
),
at_same_id as (
    select
        count(*) filter (one.row_hash = other.row_hash) as rows_found,
        count(*) filter (
            one.row_hash = other.row_hash and one.informative and other.informative
        ) as informative_found,
        count(*) filter (one.informative and other.informative) as informative_ids,
        -- Independent of the dtype: rounding to bfloat16 changes a length by less than 0.2 %.
        avg((abs(one.norm - other.norm) <= 0.002 * other.norm)::int)
            filter (one.informative and other.informative) as lengths_agree,
        corr(one.norm, other.norm) filter (one.informative and other.informative) as correlation,
        avg(least(abs(ln(one.norm) - ln(other.norm)), 0.4))
            filter (one.informative and other.informative) as length_distance
    from their_rows as one
    join their_rows as other on one.side = 1 and other.side = 2 and one.token_id = other.token_id
),
directions as (
    select
        cosine_between(
            any_value(centroid) filter (side = 1),
            any_value(if(hidden_dim = dims_a, centroid, null)) filter (side = 2)
        ) as centroid_cosine
    from sides
    join vectors using (repo, sha, matrix)
    cross join (select dims_a from pair)
),
anywhere as (
    select
        count(*) filter (row_hash in (select row_hash from their_rows where side = 2)) as rows_found,
        count(*) filter (
            informative and row_hash in (select row_hash from their_rows where side = 2 and informative)
        ) as informative_found
    from their_rows
    where side = 1
),
judged as (
    select
        pair.*, known.*,
        case
            when dims_a <> dims_b then 'not comparable: ' || dims_a || ' against ' || dims_b || ' dimensions'
            when stored_a is null then 'not comparable: no per-token table of ' || a
            when stored_b is null then 'not comparable: no per-token table of ' || b
            when informative_a = 0 or informative_b = 0 then 'not comparable: no informative rows'
        end as obstacle,
        -- Equal bits are no question if codes stand on one side, unless a float holds their values.
        obstacle is null and (dtype_a = dtype_b or values_known or anywhere.rows_found > 0) as counted,
        if(
            least(bits_a, bits_b) < 16,
            length_error(stored_as_a, bits_a, dims_a) + length_error(stored_as_b, bits_b, dims_b),
            0
        ) as allowed,
        -- As in relatives.
        case
            when centroid_cosine >= 0.99 and length_distance <= allowed then
                case
                    when greatest(bits_a, bits_b) < 16 and stored_as_a <> stored_as_b
                        then 'quantised from the same values, within what ' || stored_as_a || ' and ' || stored_as_b || ' round'
                    when bits_a < 16 and bits_b >= 16 then 'a is quantised from b, within what ' || stored_as_a || ' rounds'
                    when bits_b < 16 and bits_a >= 16 then 'b is quantised from a, within what ' || stored_as_b || ' rounds'
                end
        end as quantised,
        coalesce(
            quantised is not null or centroid_cosine >= 0.99 or (centroid_cosine >= 0.5 and correlation >= 0.5),
            false
        ) as is_kin,
        coalesce(quantised, case
            when centroid_cosine >= 0.99 and lengths_agree >= 0.95 and allowed = 0 then 'same values but for rounding'
            when centroid_cosine >= 0.99 then 'same centroid'
            when centroid_cosine >= 0.5 and correlation >= 0.5 then 'similar centroid'
            when values_known or dtype_a = dtype_b then 'no informative row in common'
            else 'not comparable bit for bit: ' || dtype_a || ' against ' || dtype_b || '; other centroids or lengths'
        end) as kinship
    from pair, known, at_same_id, anywhere, directions
)
select
    a, b,
    coalesce(obstacle, case
        when at_same_id.rows_found = common_ids and rows_a = rows_b and may_be_identical then 'identical'
        when at_same_id.rows_found = common_ids then 'identical over the common ids'
        when rows_relate(
            anywhere.informative_found / informative_a, anywhere.informative_found / informative_b,
            centroid_cosine
        ) then 'rows in common'
        when anywhere.informative_found > 0 and (dtype_a = dtype_b or not is_kin) then 'few rows in common'
    end || if(dtype_a = dtype_b, '', ' across dtypes'),
    -- Fine-tuning changes every row of floats; of codes, another way of rounding does, too.
    if(dtype_a = dtype_b and least(bits_a, bits_b) >= 16, 'no informative row in common', kinship)) as verdict,
    rows_a, rows_b, common_ids, informative_a, informative_b,
    if(counted, at_same_id.rows_found, null) as same_id,
    if(counted, anywhere.rows_found, null) as anywhere,
    if(counted, at_same_id.informative_found, null) as informative_same_id,
    if(counted, anywhere.informative_found, null) as informative_anywhere,
    if(counted, at_same_id.informative_found / nullif(informative_ids, 0), null) as share_same_id,
    if(dims_a = dims_b, lengths_agree, null) as lengths_agree,
    if(dims_a = dims_b and isfinite(correlation), correlation, null) as norm_correlation,
    centroid_cosine
from judged, at_same_id, anywhere, directions
order by a, b
