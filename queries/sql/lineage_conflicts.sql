-- Models whose rows contradict the base_model of their card; all=1 lists every such claim and its finding.
-- params: matrix=output, all=0
with recursive figures as materialized (
    select
        repo, sha, revision, dtype, hidden_dim, base_model, informative_rows,
        rows_hash is not null as has_sketch, lower(repo) as name, lower(base_model) as stated
    from measured_rows
    where matrix = $matrix
),
current_rows as materialized (
    select figures.*
    from figures
    semi join (select repo, sha from models where matrix = $matrix) using (repo, sha)
    where stated <> name
),
bases as materialized (
    from figures
    where name in (select stated from current_rows)
),
-- A model that states m as its base, or as its base's base, may well have m's rows.
ancestors(repo, ancestor) as (
    select distinct name, stated
    from figures
    where stated is not null
    union
    select ancestors.repo, figures.stated
    from ancestors
    join figures on figures.name = ancestors.ancestor
    where figures.stated is not null
),
-- A claim against every known commit of the base.
cosines as materialized (
    select
        m.repo, m.sha, base.repo as base_repo, base.sha as base_sha,
        cosine_between(vectors.centroid, base.centroid) as centroid_cosine
    from vectors
    join current_rows as m using (repo, sha)
    join (
        select repo, sha, name, hidden_dim, centroid
        from bases
        join (from vectors where matrix = $matrix) using (repo, sha)
    ) as base on base.name = m.stated and base.hidden_dim = m.hidden_dim
    where vectors.matrix = $matrix
),
-- A claim whose centroids agree is no conflict, whatever its rows: they are compared only if it is listed, too.
compared_claims as materialized (
    select repo, sha, stated
    from current_rows
    where $all <> 0 or (repo, sha) not in (select (repo, sha) from cosines where centroid_cosine >= 0.99)
),
sketched as materialized (
    select
        repo, sha, name, row_sketch,
        if(len(row_sketch) < informative_rows, row_sketch[-1], ~0::ubigint) as bound
    from figures
    join (
        select repo, sha, row_sketch
        from sketches
        where matrix = $matrix
            -- As a value, not a condition: else DuckDB may build its table of all sketches, not of these names.
            and coalesce(
                lower(repo) in (
                    select lower(repo) from compared_claims union all select stated from compared_claims
                ),
                false
            )
    ) using (repo, sha)
),
-- Hashes that are in the sketches of both a model and its stated base.
met as (
    select m.repo, m.sha, base.repo as base_repo, base.sha as base_sha, count(*) as in_common
    from (
        select repo, sha, stated, unnest(row_sketch) as row_hash
        from compared_claims
        join sketched using (repo, sha)
    ) as m
    join (select repo, sha, name, unnest(row_sketch) as row_hash from sketched) as base
        on base.name = m.stated and base.row_hash = m.row_hash
    group by m.repo, m.sha, base.repo, base.sha
),
shares as materialized (
    select
        met.*,
        -- A sketch holds all hashes up to its bound: one of the two reaches the common bound.
        in_common / if(
            mine.bound <= base.bound, len(mine.row_sketch),
            len(list_filter(mine.row_sketch, lambda x: x <= base.bound))
        ) as share_of_model,
        in_common / if(
            base.bound <= mine.bound, len(base.row_sketch),
            len(list_filter(base.row_sketch, lambda x: x <= mine.bound))
        ) as share_of_base
    from met
    join sketched as mine on mine.repo = met.repo and mine.sha = met.sha
    join sketched as base on base.repo = met.base_repo and base.sha = met.base_sha
),
pairs as (
    select
        m.repo, m.sha, m.revision, m.base_model, base.repo as base_repo, base.sha as base_sha,
        in_common as rows_in_common, share_of_model, share_of_base, centroid_cosine,
        case
            when base.repo is null then 'base not in the catalog'
            when base.hidden_dim <> m.hidden_dim
                then 'other width: ' || m.hidden_dim || ', the base has ' || base.hidden_dim
            when rows_relate(share_of_model, share_of_base, centroid_cosine) then 'confirmed'
            when centroid_cosine >= 0.99 then 'same centroid'
            when base.dtype <> m.dtype then 'not comparable: ' || m.dtype || ' against ' || base.dtype
            when not (base.has_sketch and m.has_sketch) then 'not comparable: no sketch yet'
            when base.informative_rows = 0 or m.informative_rows = 0
                then 'not comparable: no informative rows'
            when in_common > 0 then 'few rows in common'
            else 'no row in common'
        end as verdict
    from current_rows as m
    left join bases as base on base.name = m.stated
    left join shares
        on shares.repo = m.repo and shares.sha = m.sha
        and shares.base_repo = base.repo and shares.base_sha = base.sha
    left join cosines
        on cosines.repo = m.repo and cosines.sha = m.sha
        and cosines.base_repo = base.repo and cosines.base_sha = base.sha
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
suspects as materialized (
    select claims.repo, claims.sha, claims.base_model, unnest(row_sketch) as row_hash
    from claims
    join sketched using (repo, sha)
    where verdict in ('no row in common', 'few rows in common') or starts_with(verdict, 'other width')
),
-- The inverted index: other models with a suspect's rows; few of them prove nothing.
holders as materialized (
    select repo, sha, row_hash
    from (select repo, sha, unnest(row_sketch) as row_hash from sketches where matrix = $matrix)
    where coalesce(row_hash in (select row_hash from suspects), false)
),
nearest_models as materialized (
    select suspects.repo, suspects.sha, other.repo as nearest, other.sha as nearest_sha, count(*) as in_common
    from suspects
    join holders as other on other.row_hash = suspects.row_hash and other.repo <> suspects.repo
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
-- Both sides of these pairs with their lists.
sides as materialized (
    select repo, sha from nearest_models
    union
    select nearest, nearest_sha from nearest_models
),
theirs as materialized (
    select
        repo, sha, row_sketch, centroid,
        if(len(row_sketch) < informative_rows, row_sketch[-1], ~0::ubigint) as bound
    from figures
    join (
        select repo, sha, row_sketch
        from sketches
        where matrix = $matrix and coalesce((repo, sha) in (select (repo, sha) from sides), false)
    ) using (repo, sha)
    join (
        select repo, sha, centroid
        from vectors
        where matrix = $matrix and coalesce((repo, sha) in (select (repo, sha) from sides), false)
    ) using (repo, sha)
),
compared as (
    select
        nearest_models.repo, nearest_models.sha, nearest,
        len(list_filter(one.row_sketch, lambda x: x <= least(one.bound, other.bound))) as one_holds,
        len(list_filter(other.row_sketch, lambda x: x <= least(one.bound, other.bound))) as other_holds,
        in_common / (one_holds + other_holds - in_common) as nearest_similarity
    from nearest_models
    join theirs as one using (repo, sha)
    join theirs as other on other.repo = nearest and other.sha = nearest_sha
    where rows_relate(
        in_common / one_holds, in_common / other_holds, cosine_between(one.centroid, other.centroid)
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
