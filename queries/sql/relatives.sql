-- The models most similar to one, a row for each repo: by common rows (from sketches), then by black holes.
-- params: model, matrix=output, limit=20
with mine as materialized (
    select
        repo, sha, matrix, dtype, hidden_dim, vocab_rows, informative_rows, rows_hash, centroid_l2,
        token_norm_mean, row_sketch,
        if(len(row_sketch) < informative_rows, row_sketch[-1], ~0::ubigint) as bound
    from model_at($model, $matrix)
    join sketches using (repo, sha, matrix)
),
others as materialized (
    select
        theirs.repo, theirs.sha, theirs.revision, theirs.dtype, theirs.vocab_rows, theirs.hidden_dim,
        theirs.informative_rows, theirs.rows_hash, theirs.centroid_l2, theirs.token_norm_mean,
        theirs.measured_at, sketches.row_sketch,
        -- The sketch holds all hashes up to this bound; if it is not full, all that there are.
        if(len(sketches.row_sketch) < theirs.informative_rows, sketches.row_sketch[-1], ~0::ubigint) as bound,
        case
            when theirs.hidden_dim <> mine.hidden_dim then 'not comparable: ' || theirs.hidden_dim || ' dimensions'
            when theirs.dtype <> mine.dtype then 'not comparable: ' || theirs.dtype || ' against ' || mine.dtype
            when sketches.row_sketch is null or mine.row_sketch is null then 'not comparable: no sketch yet'
            when mine.informative_rows = 0 or theirs.informative_rows = 0
                then 'not comparable: no informative rows'
        end as obstacle
    from models_history as theirs
    join sketches using (repo, sha, matrix)
    join (select repo, dtype, hidden_dim, informative_rows, row_sketch from mine) as mine
        on theirs.repo <> mine.repo
    where theirs.matrix = $matrix
),
-- The inverted index: models whose sketch has one of my hashes.
holders as (
    select repo, sha, count(*) as both_hold
    from (select repo, sha, unnest(row_sketch) as row_hash from others where obstacle is null)
    where row_hash in (select unnest(row_sketch) from mine)
    group by repo, sha
),
compared as (
    select
        others.repo, others.sha, both_hold,
        len(list_filter(mine.row_sketch, lambda x: x <= least(mine.bound, others.bound))) as i_hold,
        len(list_filter(others.row_sketch, lambda x: x <= least(mine.bound, others.bound))) as they_hold,
        both_hold / (i_hold + they_hold - both_hold) as similarity,
        -- Nothing is estimated if both sketches hold all hashes.
        if(
            least(mine.bound, others.bound) = ~0::ubigint,
            0,
            sqrt(similarity * (1 - similarity) / (i_hold + they_hold - both_hold))
        ) as standard_error
    from mine, holders
    join others on others.repo = holders.repo and others.sha = holders.sha
),
holes_of as materialized (
    select black_holes.repo, black_holes.sha, hash(token_ids) as ids
    from black_holes
    where black_holes.matrix = $matrix
),
my_holes as (
    select ids from holes_of join mine on mine.repo = holes_of.repo and mine.sha = holes_of.sha
),
equal_holes as (
    select repo, sha, count(*) as holes_same
    from holes_of
    where ids in (select ids from my_holes)
    group by repo, sha
),
judged as (
    select
        others.repo, others.revision, others.sha, others.dtype, others.vocab_rows, similarity, standard_error,
        both_hold / i_hold as share_of_model,
        both_hold / they_hold as share_of_other,
        both_hold, holes_same, others.measured_at,
        coalesce(obstacle, case
            when others.rows_hash = mine.rows_hash and others.vocab_rows = mine.vocab_rows then 'identical'
            when both_hold > 0 then 'rows in common'
            else 'no row in common found'
        end) as relation,
        -- A matrix that was saved in another dtype keeps its figures, except for rounding.
        others.dtype <> mine.dtype and others.hidden_dim = mine.hidden_dim
            and abs(others.centroid_l2 - mine.centroid_l2) <= 0.002 * mine.centroid_l2
            and abs(others.token_norm_mean - mine.token_norm_mean) <= 0.002 * mine.token_norm_mean
            as figures_agree
    from mine, others
    left join compared on compared.repo = others.repo and compared.sha = others.sha
    left join equal_holes on equal_holes.repo = others.repo and equal_holes.sha = others.sha
),
-- The nearest revision of each repo.
nearest as (
    select judged.*
    from judged
    where both_hold > 0 or holes_same > 0 or figures_agree or relation = 'not comparable: no sketch yet'
    qualify row_number() over (
        partition by repo
        order by similarity desc nulls last, holes_same desc nulls last, measured_at desc, sha
    ) = 1
)
select
    repo, revision, relation, similarity, standard_error, share_of_model, share_of_other,
    coalesce(holes_same, 0) as holes_same, figures_agree, dtype, vocab_rows, sha
from nearest
union all by name
-- An unknown model is an error, and not an empty answer.
select null as repo from model_at($model, $matrix) where repo is null
order by similarity desc nulls last, figures_agree desc nulls last, holes_same desc, repo
limit $limit
