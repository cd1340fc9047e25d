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
-- The claim against every known commit of the base: the first that fits confirms it.
claims as (
    select
        m.repo, m.sha, m.revision, m.base_model,
        case
            when base.repo is null then 'base not in the catalog'
            when base.hidden_dim <> m.hidden_dim
                then 'other width: ' || m.hidden_dim || ', the base has ' || base.hidden_dim
            when base.dtype <> m.dtype then 'not comparable: ' || m.dtype || ' against ' || base.dtype
            when base.row_sketch is null or m.row_sketch is null then 'not comparable: no sketch yet'
            when base.informative_rows = 0 or m.informative_rows = 0
                then 'not comparable: no informative rows'
            when in_common > 0 then 'confirmed'
            else 'no row in common'
        end as verdict
    from current_rows as m
    left join sketched as base on lower(base.repo) = lower(m.base_model)
    left join met
        on met.repo = m.repo and met.sha = m.sha and met.base_repo = base.repo and met.base_sha = base.sha
    qualify row_number() over (
        partition by m.repo, m.sha
        order by verdict = 'confirmed' desc, starts_with(verdict, 'not comparable') desc, base.sha
    ) = 1
),
suspects as (
    select claims.repo, claims.sha, claims.base_model, unnest(row_sketch) as row_hash
    from claims
    join sketched using (repo, sha)
    where verdict = 'no row in common' or starts_with(verdict, 'other width')
),
-- The inverted index: other models with a suspect's rows.
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
        in_common / (
            len(list_filter(one.row_sketch, lambda x: x <= least(one.bound, other.bound)))
            + len(list_filter(other.row_sketch, lambda x: x <= least(one.bound, other.bound)))
            - in_common
        ) as nearest_similarity
    from nearest_models
    join sketched as one using (repo, sha)
    join sketched as other on other.repo = nearest and other.sha = nearest_sha
)
select
    repo, revision, base_model,
    if(verdict = 'no row in common' and nearest is not null, 'rows of another model', verdict) as finding,
    nearest, nearest_similarity, sha
from claims
left join compared using (repo, sha)
where $all <> 0 or nearest is not null or starts_with(verdict, 'other width')
order by nearest is null, finding, repo, sha
