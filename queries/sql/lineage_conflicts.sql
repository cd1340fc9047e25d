-- Models whose rows contradict the base_model of their card; all=1 lists every such claim and its finding.
-- params: matrix=output, all=0
with recursive sketched as materialized (
    select
        repo, sha, revision, dtype, hidden_dim, base_model, informative_rows, row_sketch,
        if(len(row_sketch) < informative_rows, row_sketch[-1], ~0::ubigint) as bound
    from models_history
    join sketches using (repo, sha, matrix)
    where matrix = $matrix
),
current_rows as (
    select sketched.*
    from sketched
    where base_model is not null
        and lower(base_model) <> lower(repo)
        and (repo, sha) in (select (repo, sha) from models where matrix = $matrix)
),
-- A model that states m as its base, or as its base's base, may well have m's rows.
ancestors(repo, ancestor) as (
    select distinct lower(repo), lower(base_model)
    from sketched
    where base_model is not null
    union
    select ancestors.repo, lower(sketched.base_model)
    from ancestors
    join sketched on lower(sketched.repo) = ancestors.ancestor
    where sketched.base_model is not null
),
-- Hashes that are in the sketches of both a model and its stated base.
met as (
    select m.repo, m.sha, base.repo as base_repo, base.sha as base_sha, count(*) as in_common
    from (select repo, sha, lower(base_model) as stated, unnest(row_sketch) as row_hash from current_rows) as m
    join (
        select repo, sha, unnest(row_sketch) as row_hash
        from sketched
        where lower(repo) in (select lower(base_model) from current_rows)
    ) as base
        on lower(base.repo) = m.stated and base.row_hash = m.row_hash
    group by m.repo, m.sha, base.repo, base.sha
),
centroids as materialized (
    select repo, sha, centroid
    from vectors
    where matrix = $matrix
        and (lower(repo) in (select lower(base_model) from current_rows) or repo in (select repo from current_rows))
),
-- A claim against every known commit of the base.
pairs as (
    select
        m.repo, m.sha, m.revision, m.base_model, base.repo as base_repo, base.sha as base_sha,
        in_common as rows_in_common,
        in_common / len(list_filter(m.row_sketch, lambda x: x <= least(m.bound, base.bound))) as share_of_model,
        in_common / len(list_filter(base.row_sketch, lambda x: x <= least(m.bound, base.bound)))
            as share_of_base,
        cosine_between(my_centroid.centroid, if(base.hidden_dim = m.hidden_dim, base_centroid.centroid, null))
            as centroid_cosine,
        case
            when base.repo is null then 'base not in the catalog'
            when base.hidden_dim <> m.hidden_dim
                then 'other width: ' || m.hidden_dim || ', the base has ' || base.hidden_dim
            when rows_relate(share_of_model, share_of_base, centroid_cosine) then 'confirmed'
            when centroid_cosine >= 0.99 then 'same centroid'
            when base.dtype <> m.dtype then 'not comparable: ' || m.dtype || ' against ' || base.dtype
            when base.row_sketch is null or m.row_sketch is null then 'not comparable: no sketch yet'
            when base.informative_rows = 0 or m.informative_rows = 0
                then 'not comparable: no informative rows'
            when in_common > 0 then 'few rows in common'
            else 'no row in common'
        end as verdict
    from current_rows as m
    left join sketched as base on lower(base.repo) = lower(m.base_model)
    left join met
        on met.repo = m.repo and met.sha = m.sha and met.base_repo = base.repo and met.base_sha = base.sha
    left join centroids as my_centroid on my_centroid.repo = m.repo and my_centroid.sha = m.sha
    left join centroids as base_centroid
        on base_centroid.repo = base.repo and base_centroid.sha = base.sha
),
-- The commit of the base that fits best decides.
claims as (
    from pairs
    qualify row_number() over (
        partition by repo, sha
        order by
            verdict = 'confirmed' desc, verdict = 'same centroid' desc,
            starts_with(verdict, 'not comparable') desc, rows_in_common desc nulls last, base_sha
    ) = 1
),
suspects as (
    select claims.repo, claims.sha, claims.base_model, unnest(row_sketch) as row_hash
    from claims
    join sketched using (repo, sha)
    where verdict in ('no row in common', 'few rows in common') or starts_with(verdict, 'other width')
),
-- The inverted index: other models with a suspect's rows; few of them prove nothing.
nearest_models as (
    select suspects.repo, suspects.sha, other.repo as nearest, other.sha as nearest_sha, count(*) as in_common
    from suspects
    join (select repo, sha, unnest(row_sketch) as row_hash from sketched) as other
        on other.row_hash = suspects.row_hash and other.repo <> suspects.repo
    where not exists (
        from ancestors
        where ancestors.repo = lower(other.repo)
            and ancestors.ancestor in (lower(suspects.repo), lower(suspects.base_model))
    )
    group by suspects.repo, suspects.sha, other.repo, other.sha
    qualify row_number() over (
        partition by suspects.repo, suspects.sha order by in_common desc, nearest, nearest_sha
    ) = 1
),
compared as (
    select
        nearest_models.repo, nearest_models.sha, nearest,
        len(list_filter(one.row_sketch, lambda x: x <= least(one.bound, other.bound))) as one_holds,
        len(list_filter(other.row_sketch, lambda x: x <= least(one.bound, other.bound))) as other_holds,
        in_common / (one_holds + other_holds - in_common) as nearest_similarity
    from nearest_models
    join sketched as one using (repo, sha)
    join sketched as other on other.repo = nearest and other.sha = nearest_sha
    join centroids using (repo, sha)
    join (
        select repo, sha, centroid
        from vectors
        where matrix = $matrix and (repo, sha) in (select (nearest, nearest_sha) from nearest_models)
    ) as theirs
        on theirs.repo = nearest and theirs.sha = nearest_sha
    where rows_relate(
        in_common / one_holds, in_common / other_holds, cosine_between(centroids.centroid, theirs.centroid)
    )
)
select
    repo, revision, base_model,
    if(ends_with(verdict, 'in common') and nearest is not null, 'rows of another model', verdict) as finding,
    coalesce(rows_in_common, if(ends_with(verdict, 'in common'), 0, null)) as rows_in_common,
    share_of_model, centroid_cosine, nearest, nearest_similarity, sha
from claims
left join compared using (repo, sha)
where $all <> 0 or nearest is not null or starts_with(verdict, 'other width')
order by nearest is null, finding, repo, sha
