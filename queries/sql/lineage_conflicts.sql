-- Models whose rows contradict the base_model of their card; all=1 lists every such claim and its finding.
-- params: matrix=output, all=0
with recursive figures as materialized (
    select
        repo, sha, revision, dtype, hidden_dim, base_model, informative_rows,
        dtype = 'BF16' or (values_hash is not null and not coalesce(quantised, true)) as values_known,
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
        repo, sha, name, dtype, informative_rows, row_sketch,
        -- By these, matrices of two dtypes are compared.
        if(dtype = 'BF16', row_sketch, value_sketch) as value_sketch
    from figures
    join (
        select repo, sha, row_sketch, value_sketch
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
hashes as (
    select repo, sha, stated, dtype, true as of_rows, unnest(row_sketch) as hash
    from compared_claims
    join sketched using (repo, sha)
    union all
    select repo, sha, stated, dtype, false, unnest(value_sketch)
    from compared_claims
    join sketched using (repo, sha)
),
-- Each once: a forged sketch may repeat one.
hashes_of_bases as (
    select repo, sha, name, dtype, true as of_rows, unnest(list_distinct(row_sketch)) as hash
    from sketched
    semi join compared_claims on compared_claims.stated = name
    union all
    select repo, sha, name, dtype, false, unnest(list_distinct(value_sketch))
    from sketched
    semi join compared_claims on compared_claims.stated = name
),
-- Hashes that are in the sketches of both a model and its stated base.
met as (
    select m.repo, m.sha, base.repo as base_repo, base.sha as base_sha, count(*) as in_common
    from hashes as m
    join hashes_of_bases as base
        on base.name = m.stated and base.hash = m.hash and base.of_rows = m.of_rows
        and m.of_rows = (m.dtype = base.dtype)
    group by m.repo, m.sha, base.repo, base.sha
),
both_sketches as (
    select
        met.*,
        if(mine.dtype = base.dtype, mine.row_sketch, mine.value_sketch) as my_sketch,
        if(mine.dtype = base.dtype, base.row_sketch, base.value_sketch) as base_sketch,
        -- A sketch holds all hashes up to its bound: one of the two reaches the common bound.
        least(
            sketch_bound(my_sketch, mine.informative_rows), sketch_bound(base_sketch, base.informative_rows)
        ) as common_bound
    from met
    join sketched as mine on mine.repo = met.repo and mine.sha = met.sha
    join sketched as base on base.repo = met.base_repo and base.sha = met.base_sha
),
shares as materialized (
    select
        repo, sha, base_repo, base_sha, in_common,
        in_common / len(list_filter(my_sketch, lambda x: x <= common_bound)) as share_of_model,
        in_common / len(list_filter(base_sketch, lambda x: x <= common_bound)) as share_of_base
    from both_sketches
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
            when base.dtype <> m.dtype and not (base.values_known and m.values_known)
                then 'not comparable: ' || m.dtype || ' against ' || base.dtype
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
suspect_claims as materialized (
    select repo, sha
    from claims
    where verdict in ('no row in common', 'few rows in common') or starts_with(verdict, 'other width')
),
suspects as materialized (
    select distinct hashes.*
    from hashes
    semi join suspect_claims using (repo, sha)
),
-- The inverted index: models with a suspect's rows, the suspects among them; few of them prove nothing.
holders as materialized (
    select repo, sha, dtype, row_hash, if(dtype = 'BF16', row_hash, value_hash) as value_hash
    from (
        select repo, sha, unnest(row_sketch) as row_hash, unnest(value_sketch) as value_hash
        from sketches
        where matrix = $matrix
    )
    join figures using (repo, sha)
    where coalesce(row_hash in (select hash from suspects), false)
        or coalesce(value_hash in (select hash from suspects where not of_rows), false)
),
-- Those of one dtype that have the same of these rows, perhaps thousands that never trained them, are a group.
group_members as materialized (
    select
        dense_rank() over (order by of_rows, dtype, number_of_hashes, parity, total) as group_id,
        row_number() over (
            partition by of_rows, dtype, number_of_hashes, parity, total order by repo, sha
        ) as member,
        repo, sha, dtype, of_rows
    from (
        select
            repo, sha, dtype, true as of_rows, count(*) as number_of_hashes, bit_xor(hash(row_hash)) as parity,
            sum(row_hash) as total
        from holders
        where row_hash in (select hash from suspects where of_rows)
        group by repo, sha, dtype
        union all
        select repo, sha, dtype, false, count(*), bit_xor(hash(value_hash)), sum(value_hash)
        from holders
        where value_hash in (select hash from suspects where not of_rows)
        group by repo, sha, dtype
    )
),
group_hashes as materialized (
    select group_id, firsts.dtype, firsts.of_rows, if(firsts.of_rows, row_hash, value_hash) as hash
    from (from group_members where member = 1) as firsts
    join holders using (repo, sha)
    semi join suspects
        on suspects.of_rows = firsts.of_rows and suspects.hash = if(firsts.of_rows, row_hash, value_hash)
),
suspect_groups as materialized (
    select distinct group_id, suspects.stated
    from (select distinct repo, sha, stated from suspects) as suspects
    join group_members using (repo, sha)
),
-- How many pairs of hashes it takes to compare a group with all others; those that take most are left out.
costs as materialized (
    select group_id, sum(pairs) over (order by pairs, group_id) > 50_000_000 as too_many
    from (
        select group_id, sum(groups) as pairs
        from (from group_hashes semi join suspect_groups using (group_id))
        join (select of_rows, hash, count(*) as groups from group_hashes group by of_rows, hash)
            using (of_rows, hash)
        group by group_id
    )
),
too_common as (
    select repo, sha
    from group_members
    join costs using (group_id)
    where too_many
),
common_hashes as materialized (
    select mine.group_id, theirs.group_id as other_id, count(*) as in_common
    from (from group_hashes join costs using (group_id) where not too_many) as mine
    join group_hashes as theirs
        on theirs.hash = mine.hash and theirs.of_rows = mine.of_rows
        and mine.of_rows = (mine.dtype = theirs.dtype)
    group by mine.group_id, theirs.group_id
),
-- A model that states a suspect's base as its own, or as its base's base, may well have the suspect's rows: the
-- suspect's own descendants are among these.
descendants(stated, name, generation) as (
    select stated, stated, 0
    from suspect_groups
    union
    select descendants.stated, figures.name, generation + 1
    from descendants
    join figures on figures.stated = descendants.name
    where generation < 100
),
-- In each group the first member that does not descend from the base: before it stand descendants alone.
descendants_first as (
    select stated, group_id, count(*) as descendants
    from (
        select
            stated, group_id, member,
            row_number() over (partition by stated, group_id order by member) as position
        from (select distinct stated, name from descendants where generation > 0)
        join group_members on lower(group_members.repo) = name
    )
    where position = member
    group by stated, group_id
),
nearest_of_groups as (
    select
        suspect_groups.group_id, suspect_groups.stated, other.repo as nearest, other.sha as nearest_sha,
        in_common
    from suspect_groups
    join common_hashes using (group_id)
    left join descendants_first
        on descendants_first.stated = suspect_groups.stated and descendants_first.group_id = other_id
    join group_members as other
        on other.group_id = other_id and other.member = 1 + coalesce(descendants, 0)
),
nearest_models as materialized (
    select repo, sha, nearest, nearest_sha, in_common
    from (select distinct repo, sha, stated from suspects) as suspects
    join group_members using (repo, sha)
    join nearest_of_groups using (group_id, stated)
    qualify row_number() over (
        partition by repo, sha order by in_common desc, nearest, nearest_sha
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
        repo, sha, dtype, informative_rows, centroid, row_sketch,
        if(dtype = 'BF16', row_sketch, value_sketch) as value_sketch
    from figures
    join (
        select repo, sha, row_sketch, value_sketch
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
        if(one.dtype = other.dtype, one.row_sketch, one.value_sketch) as one_sketch,
        if(one.dtype = other.dtype, other.row_sketch, other.value_sketch) as other_sketch,
        least(
            sketch_bound(one_sketch, one.informative_rows), sketch_bound(other_sketch, other.informative_rows)
        ) as common_bound,
        len(list_filter(one_sketch, lambda x: x <= common_bound)) as one_holds,
        len(list_filter(other_sketch, lambda x: x <= common_bound)) as other_holds,
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
    case
        when not ends_with(verdict, 'in common') then verdict
        when nearest is not null then 'rows of another model'
        when (repo, sha) in (select (repo, sha) from too_common)
            then 'not compared: too many models have its rows'
        else verdict
    end as finding,
    coalesce(rows_in_common, if(ends_with(verdict, 'in common'), 0, null)) as rows_in_common,
    share_of_model, centroid_cosine, nearest, nearest_similarity, sha
from claims
left join compared using (repo, sha)
where
    $all <> 0 or nearest is not null or starts_with(verdict, 'other width') or starts_with(finding, 'not compared')
order by nearest is null, finding, repo, sha
