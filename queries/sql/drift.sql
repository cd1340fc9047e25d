-- What changed in a repo from revision a to b: a_to_b is b − a, or the pair's angle, distance, equal rows.
-- params: repo, a, b, matrix=output
-- tokens of: from models_history where repo = $repo and matrix = $matrix
with requested(side, revision) as (
    values (1, $a), (2, $b)
),
picked as (
    select 1 as side, one.* from commit_at($repo, $a, $matrix) as one
    union all
    select 2, other.* from commit_at($repo, $b, $matrix) as other
),
checked as (
    select (select count(*) from picked) = 2 or error((
        select if(
            $repo in (select repo from models_history union all select repo from attempts),
            'drift: not in the catalog as ' || $matrix || ': '
                || string_agg($repo || '@' || revision, ', ' order by side),
            not_there($repo)
        )
        from requested
        where side not in (select side from picked)
        having count(*) > 0
    )) as complete
),
figures as (
    select side, position, quantity, figure
    from picked, lateral (
        values
            (1, 'centroid_l2', centroid_l2),
            (2, 'centroid_ratio', centroid_ratio),
            (3, 'dead_live_angle_deg', dead_live_angle_deg),
            (4, 'black_hole_count', black_hole_count::double),
            (5, 'dead_count', dead_count::double),
            (6, 'vocab_rows', vocab_rows::double)
    ) as each_of(position, quantity, figure)
),
centroids as (
    select
        max(centroid::double[]) filter (side = 1) as a,
        max(centroid::double[]) filter (side = 2) as b
    from picked
    join vectors using (repo, sha, matrix)
),
their_tokens as materialized (
    select side, token_id, row_hash
    from picked
    join tokens using (repo, sha, matrix)
    where tokens.repo = $repo and tokens.matrix = $matrix
),
equal_rows as (
    select count(*)::double as unchanged
    from (from their_tokens select token_id, row_hash group by token_id, row_hash having count(*) = 2)
    -- Unknown without both per-token tables.
    having (select count(distinct side) from their_tokens) = 2
),
pair as (
    select 7 as position, 'centroid_angle_deg' as quantity, (select angle_between_deg(a, b) from centroids) as figure
    union all
    select 8, 'centroid_distance', (select distance_between(a, b) from centroids)
    union all
    select 9, 'rows_unchanged', (select unchanged from equal_rows)
),
moved as (
    select
        position, quantity,
        max(figure) filter (side = 1) as a,
        max(figure) filter (side = 2) as b,
        max(figure) filter (side = 2) - max(figure) filter (side = 1) as a_to_b
    from figures
    group by position, quantity
    union all
    select position, quantity, null, null, figure from pair
)
select quantity, a, b, a_to_b
from checked
-- A left join, so that the check is made even if there is nothing to compare.
left join moved on complete
order by position
