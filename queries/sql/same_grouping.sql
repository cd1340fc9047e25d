-- Whether a and b group the same token ids into black holes, whatever the values, over the ids that both have.
-- params: a, b, matrix=output
with sides as (
    select 1 as side, one.* from model_at($a, $matrix) as one
    union all
    select 2, other.* from model_at($b, $matrix) as other
),
pair as (
    select
        any_value(repo || '@' || revision) filter (side = 1) as a,
        any_value(repo || '@' || revision) filter (side = 2) as b,
        min(vocab_rows) as common_ids
    from sides
),
members as (
    select side, rank, unnest(token_ids) as token_id
    from sides
    join black_holes using (repo, sha, matrix)
),
-- A black hole with one row left below the cut is none.
kept as materialized (
    select side, rank, token_id
    from members
    where token_id < (select common_ids from pair)
    qualify count(*) over (partition by side, rank) > 1
),
holes as (
    select side, rank, list(token_id order by token_id) as token_ids, count(*) as population
    from kept
    group by side, rank
),
counted as (
    select
        count(*) filter (side = 1) as holes_a,
        count(*) filter (side = 2) as holes_b,
        coalesce(sum(population) filter (side = 1), 0)::bigint as dead_a,
        coalesce(sum(population) filter (side = 2), 0)::bigint as dead_b,
        coalesce(sum(population * (population - 1) // 2) filter (side = 1), 0) as pairs_a,
        coalesce(sum(population * (population - 1) // 2) filter (side = 2), 0) as pairs_b
    from holes
),
equal_holes as (
    select count(*) as holes_same
    from holes as one
    join holes as other on one.side = 1 and other.side = 2 and one.token_ids = other.token_ids
),
crossed as (
    select count(*) as together
    from kept as one
    join kept as other on one.side = 1 and other.side = 2 and one.token_id = other.token_id
    group by one.rank, other.rank
),
shared as (
    select
        coalesce(sum(together), 0)::bigint as dead_both,
        coalesce(sum(together * (together - 1) // 2), 0) as pairs_both
    from crossed
)
select
    a, b, common_ids, holes_a, holes_b, holes_same, dead_a, dead_b, dead_both,
    -- Of the pairs of tokens that are identical in a or in b, the share that are identical in both: the
    -- Jaccard index of two partitions. Undefined if neither has a black hole.
    pairs_both / nullif(pairs_a + pairs_b - pairs_both, 0) as grouping_similarity,
    -- Undefined, too, if there is nothing to compare.
    if(holes_a + holes_b > 0, holes_a = holes_same and holes_b = holes_same, null) as same_grouping
from pair, counted, equal_holes, shared
order by a, b
