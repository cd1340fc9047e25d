-- The models most similar to one, a row for each repo: by their rows, then by centroid and lengths.
-- params: model, matrix=output, limit=20, stored_as=*
with mine as materialized (
    select
        repo, sha, matrix, dtype, hidden_dim, vocab_rows, informative_rows, rows_hash, centroid_l2,
        token_norm_mean, row_sketch, norm_sketch, centroid, stored_as, bits_per_weight,
        scale is not null as is_scaled,
        values_hash_of(values_hash, rows_hash, dtype) as values_hash,
        -- By these a matrix of another dtype is compared.
        if(dtype = 'BF16', row_sketch, value_sketch) as value_sketch
    from model_at($model, $matrix)
    join sketches using (repo, sha, matrix)
    join vectors using (repo, sha, matrix)
),
-- Without its lists, which a join would copy for each other model.
my_figures as materialized (
    select
        repo, dtype, hidden_dim, vocab_rows, informative_rows, rows_hash, centroid_l2, token_norm_mean,
        stored_as, bits_per_weight, values_hash, is_scaled, row_sketch is not null as has_sketch
    from mine
),
others as materialized (
    select
        theirs.repo, theirs.sha, theirs.revision, theirs.dtype, theirs.vocab_rows, theirs.hidden_dim,
        theirs.informative_rows, theirs.rows_hash, theirs.centroid_l2, theirs.token_norm_mean,
        theirs.measured_at,
        values_hash_of(theirs.values_hash, theirs.rows_hash, theirs.dtype) as values_hash,
        theirs.dtype <> mine.dtype as other_dtype,
        -- A scale may make other values of the same bytes.
        other_dtype or (
            (theirs.scale is not null or mine.is_scaled)
            and theirs.values_hash is not null and mine.values_hash is not null
        ) as by_values,
        -- As the views show rows of earlier versions.
        coalesce(theirs.stored_as, theirs.dtype) as stored_as,
        coalesce(theirs.bits_per_weight, if(starts_with(theirs.dtype, 'F8'), 8, 16)) as bits_per_weight,
        theirs.hidden_dim = mine.hidden_dim as same_width,
        case
            when not same_width then 'not comparable: ' || theirs.hidden_dim || ' dimensions'
            -- Of one measure, as the sketch, which is read for candidates alone.
            when theirs.rows_hash is null or not mine.has_sketch then 'not comparable: no sketch yet'
            when mine.informative_rows = 0 or theirs.informative_rows = 0
                then 'not comparable: no informative rows'
        end as no_rows,
        -- If no dtype holds both, equal bits are no question; other evidence counts as ever.
        coalesce(
            no_rows,
            if(other_dtype, 'not comparable: ' || theirs.dtype || ' against ' || mine.dtype, null)
        ) as obstacle
    from measured_rows as theirs
    join my_figures as mine on theirs.repo <> mine.repo
    where theirs.matrix = $matrix
),
directions as materialized (
    select
        repo, sha,
        cosine_between(
            if(len(centroid) = (select len(centroid) from mine), centroid, null), (select centroid from mine)
        ) as centroid_cosine
    from vectors
    where matrix = $matrix
),
my_hashes as materialized (
    select unnest(row_sketch) as hash, true as of_rows from mine
    union all
    select unnest(value_sketch), false from mine
),
-- The inverted index: models whose sketch has one of my hashes.
holders as materialized (
    select
        repo, sha,
        count(*) filter (row_hash = hash and of_rows) as same_rows,
        count(*) filter (row_hash = hash and not of_rows) as rows_as_values,
        count(*) filter (value_hash = hash and not of_rows) as same_values
    from (
        select repo, sha, row_hash, value_hash
        from (
            select repo, sha, unnest(row_sketch) as row_hash, unnest(value_sketch) as value_hash
            from sketches
            where matrix = $matrix
        )
        -- As values, not conditions: else DuckDB may build its table of all models' hashes, not of mine.
        where coalesce(row_hash in (select hash from my_hashes), false)
            or coalesce(value_hash in (select hash from my_hashes where not of_rows), false)
    )
    join my_hashes on hash in (row_hash, value_hash)
    group by repo, sha
),
comparable as materialized (
    select
        repo, sha, informative_rows, by_values, dtype,
        case
            when not by_values then same_rows
            when dtype = 'BF16' then rows_as_values
            else same_values
        end as both_hold
    from holders
    join others using (repo, sha)
    where no_rows is null and both_hold > 0
),
both_sketches as (
    select
        comparable.*,
        if(by_values, mine.value_sketch, mine.row_sketch) as my_sketch,
        if(by_values and comparable.dtype <> 'BF16', theirs.value_sketch, theirs.row_sketch) as their_sketch,
        -- The sketch holds all hashes up to its bound; if it is not full, all that there are.
        least(
            sketch_bound(my_sketch, mine.informative_rows),
            sketch_bound(their_sketch, comparable.informative_rows)
        ) as common_bound
    from mine, comparable
    join (
        select repo, sha, row_sketch, value_sketch
        from sketches
        where matrix = $matrix and coalesce((repo, sha) in (select (repo, sha) from comparable), false)
    ) as theirs
        on theirs.repo = comparable.repo and theirs.sha = comparable.sha
),
compared as (
    select
        repo, sha, both_hold,
        len(list_filter(my_sketch, lambda x: x <= common_bound)) as i_hold,
        len(list_filter(their_sketch, lambda x: x <= common_bound)) as they_hold,
        both_hold / (i_hold + they_hold - both_hold) as similarity,
        -- Nothing is estimated if both sketches hold all hashes.
        if(
            common_bound = ~0::ubigint,
            0,
            sqrt(similarity * (1 - similarity) / (i_hold + they_hold - both_hold))
        ) as standard_error
    from both_sketches
),
-- Zero rows and rows that are not finite are alike everywhere.
my_holes as materialized (
    select hash(hole.token_ids) as ids
    from (
        -- Unnested after the join, which reads the files of this row alone.
        select unnest(black_holes) as hole
        from measured_rows
        semi join mine using (repo, sha, matrix)
    )
    where hole.norm > 0
),
equal_holes as (
    select repo, sha, count(*) as holes_same
    from black_holes
    where matrix = $matrix and norm > 0 and coalesce(hash(token_ids) in (select ids from my_holes), false)
    group by repo, sha
),
candidates as materialized (
    select others.*, centroid_cosine, both_hold, i_hold, they_hold, similarity, standard_error, holes_same
    from others
    left join directions using (repo, sha)
    left join compared using (repo, sha)
    left join equal_holes using (repo, sha)
    where both_hold > 0
        or holes_same > 0
        or centroid_cosine >= 0.5
        or obstacle = 'not comparable: no sketch yet'
),
-- The lengths of candidates at the ids of the samples.
norm_sketches as materialized (
    select repo, sha, norm_sketch
    from sketches
    where matrix = $matrix
        and coalesce((repo, sha) in (select (repo, sha) from candidates where same_width), false)
),
-- What may have been quantised, and from what: this model and those of the same centroid.
alike as materialized (
    select repo, sha, norm_sketch, bits_per_weight < 16 as coarse, false as is_mine
    from norm_sketches
    join candidates using (repo, sha)
    where centroid_cosine >= 0.99
    union all
    select repo, sha, norm_sketch, bits_per_weight < 16, true
    from mine
),
-- How far the lengths of a quantised matrix are from those of each whole one. This model is one of the two, or
-- the whole one is a rival of it.
distances as (
    select
        repo, sha, whole_repo, whole_sha, is_mine, whole_is_mine,
        -- A row that became almost zero counts no more than one that lost a third.
        avg(least(abs(ln(norm) - ln(whole_norm)), 0.4)) as distance
    from (
        select
            coarse.repo, coarse.sha, coarse.is_mine, whole.repo as whole_repo, whole.sha as whole_sha,
            whole.is_mine as whole_is_mine, unnest(coarse.norm_sketch) as norm,
            unnest(whole.norm_sketch) as whole_norm
        from alike as coarse
        join alike as whole on coarse.coarse and not whole.coarse
        where coarse.is_mine or not (select coarse from alike where is_mine)
    )
    where norm > 0 and whole_norm > 0
    group by all
),
-- The whole matrices that are nearest to a quantised one; two that are equally near were saved from one another.
quantised_from as (
    select
        if(is_mine, whole_repo, repo) as repo,
        if(is_mine, whole_sha, sha) as sha,
        is_near
    from (
        select
            repo, sha, whole_repo, whole_sha, is_mine, whole_is_mine,
            distance <= 1.05 * min(distance) over (partition by repo, sha) + 1e-6 as is_near
        from distances
    )
    where is_mine or whole_is_mine
),
-- The lengths of both at the ids of the samples.
lengths as (
    select
        repo, sha,
        corr(my_norm, their_norm) as correlation,
        median(their_norm / my_norm) as norm_ratio,
        -- A scaled copy changes all lengths alike, except for rounding; of training, each by its own.
        (quantile_cont(their_norm / my_norm, 0.975) - quantile_cont(their_norm / my_norm, 0.025)) / norm_ratio
            as ratio_spread,
        -- Rounding to bfloat16 moves a length by less than 0.2 %.
        avg((abs(their_norm - my_norm) <= 0.002 * my_norm)::int) as lengths_agree,
        avg(least(abs(ln(their_norm) - ln(my_norm)), 0.4)) as length_distance
    from (
        select repo, sha, unnest((select norm_sketch from mine)) as my_norm,
            unnest(norm_sketch) as their_norm
        from norm_sketches
    )
    where my_norm > 0 and their_norm > 0
    group by repo, sha
    -- A few lengths are no evidence.
    having count(*) >= 16
),
judged as (
    select
        candidates.repo, candidates.revision, candidates.sha, candidates.dtype, candidates.vocab_rows,
        similarity, standard_error, both_hold as rows_in_common,
        both_hold / i_hold as share_of_model,
        both_hold / they_hold as share_of_other,
        centroid_cosine,
        if(isfinite(correlation), correlation, null) as norm_correlation,
        norm_ratio, lengths_agree, coalesce(holes_same, 0) as holes_same, candidates.measured_at,
        candidates.stored_as,
        -- A matrix that was saved in another dtype keeps its figures, except for rounding.
        candidates.dtype <> mine.dtype and same_width
            and abs(candidates.centroid_l2 - mine.centroid_l2) <= 0.002 * mine.centroid_l2
            and abs(candidates.token_norm_mean - mine.token_norm_mean) <= 0.002 * mine.token_norm_mean
            as figures_agree,
        -- What the quantisation of one or of both moves lengths by.
        if(
            least(candidates.bits_per_weight, mine.bits_per_weight) < 16,
            length_error(candidates.stored_as, candidates.bits_per_weight, mine.hidden_dim)
                + length_error(mine.stored_as, mine.bits_per_weight, mine.hidden_dim),
            0
        ) as allowed,
        centroid_cosine >= 0.99 and length_distance <= allowed as may_be_quantised,
        -- The first of these that holds is the relation; how often each is wrong: docs/howto/lineage.md.
        case
            when obstacle is null and candidates.vocab_rows = mine.vocab_rows
                and coalesce(candidates.values_hash = mine.values_hash, true)
                and (candidates.rows_hash = mine.rows_hash or by_values) then 1
            when no_rows is null and by_values and candidates.values_hash = mine.values_hash
                and candidates.vocab_rows = mine.vocab_rows then 2
            when rows_relate(share_of_model, share_of_other, centroid_cosine) then 3
            when may_be_quantised and is_near and mine.bits_per_weight < 16 then 4
            when may_be_quantised and is_near then 5
            when may_be_quantised and greatest(candidates.bits_per_weight, mine.bits_per_weight) < 16
                and candidates.stored_as <> mine.stored_as then 6
            when centroid_cosine >= 0.99 and lengths_agree >= 0.95 and candidates.dtype <> mine.dtype
                and allowed = 0 then 7
            when centroid_cosine >= 0.99 and correlation >= 0.999 and abs(norm_ratio - 1) > 0.002 + allowed
                and ratio_spread <= 0.004 + 4 * allowed then 8
            when centroid_cosine >= 0.99 then 9
            when centroid_cosine >= 0.5 and correlation >= 0.5 then 10
            when both_hold > 0 then 11
            when holes_same > 0 and same_width then 12
            else 13
        end as evidence,
        coalesce(
            ['identical', 'identical across dtypes', 'rows in common', 'quantised from', 'quantised to',
             'other quantisation', 'same values', 'scaled copy', 'same centroid', 'similar centroid',
             'few rows in common', 'same black holes'][evidence],
            obstacle,
            'no evidence'
        ) as relation
    from candidates
    cross join (
        from my_figures
        select
            dtype, vocab_rows, hidden_dim, rows_hash, centroid_l2, token_norm_mean, stored_as, bits_per_weight,
            values_hash
    ) as mine
    left join lengths using (repo, sha)
    left join quantised_from using (repo, sha)
),
-- The nearest revision of each repo.
nearest as (
    select judged.*
    from judged
    where relation <> 'no evidence' and stored_as glob $stored_as
    qualify row_number() over (
        partition by repo
        order by evidence, similarity desc nulls last, centroid_cosine desc nulls last,
            holes_same desc, measured_at desc, sha
    ) = 1
)
select
    repo, revision, relation, similarity, standard_error, rows_in_common, share_of_model, share_of_other,
    centroid_cosine, norm_correlation, norm_ratio, lengths_agree, holes_same, figures_agree, dtype,
    vocab_rows, sha
from (
    from nearest
    union all by name
    -- An unknown model is an error, and not an empty answer.
    select null as repo from model_at($model, $matrix) where repo is null
)
order by evidence, similarity desc nulls last, centroid_cosine desc nulls last, holes_same desc, repo
limit $limit
