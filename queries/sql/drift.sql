-- What moved in a repo from revision a to b: a_to_b is b − a, or of the pair: angle, distance, equal rows.
-- params: repo, a, b, matrix=output
with asked as (
    select side, revision from (values (1, $a), (2, $b)) as wanted(side, revision)
),
resolved as (
    select revision, sha, max(finished_at) as resolved_at
    from attempts
    where repo = $repo
    group by revision, sha
),
picked as (
    select side, models_history.*
    from asked
    join models_history
        on repo = $repo
        and matrix = $matrix
        and (list_contains(revisions, asked.revision) or starts_with(sha, asked.revision))
    left join resolved on resolved.revision = asked.revision and resolved.sha = models_history.sha
    -- A name before a commit that begins like it; of a name that moved, where it led last.
    qualify row_number() over (
        partition by side
        order by list_contains(revisions, asked.revision) desc, resolved_at desc nulls last,
            measured_at desc, models_history.sha
    ) = 1
),
checked as (
    select (select count(*) from picked) = 2 or error((
        select if(
            $repo in (select repo from models_history union all select repo from attempts),
            'drift: not in the catalog as ' || $matrix || ': '
                || string_agg($repo || '@' || revision, ', ' order by side),
            not_there($repo)
        )
        from asked
        where side not in (select side from picked)
        having count(*) > 0
    )) as complete
),
figures as (
    select side, place, quantity, figure
    from picked, lateral (
        values
            (1, 'centroid_l2', centroid_l2),
            (2, 'centroid_ratio', centroid_ratio),
            (3, 'dead_live_angle_deg', dead_live_angle_deg),
            (4, 'black_hole_count', black_hole_count::double),
            (5, 'dead_count', dead_count::double),
            (6, 'vocab_rows', vocab_rows::double)
    ) as each_of(place, quantity, figure)
),
centroids as (
    select
        max(centroid::double[]) filter (side = 1) as a,
        max(centroid::double[]) filter (side = 2) as b
    from picked
    join vectors using (repo, sha, matrix)
),
units as (
    select
        a, b,
        list_transform(a, lambda x: x / sqrt(list_dot_product(a, a))) as unit_a,
        list_transform(b, lambda x: x / sqrt(list_dot_product(b, b))) as unit_b,
        list_transform(b, lambda x: -x / sqrt(list_dot_product(b, b))) as minus_b
    from centroids
    where len(a) = len(b)
),
their_tokens as materialized (
    select side, token_id, row_hash
    from picked
    join tokens using (repo, sha, matrix)
    where tokens.repo = $repo and tokens.matrix = $matrix
),
equal_rows as (
    select count(*)::double as found
    from (from their_tokens select token_id, row_hash group by token_id, row_hash having count(*) = 2)
    -- Without both per-token tables nothing is known.
    having (select count(distinct side) from their_tokens) = 2
),
pair as (
    select 7 as place, 'centroid_angle_deg' as quantity, (
        select if(
            list_dot_product(a, a) > 0 and list_dot_product(b, b) > 0,
            degrees(2 * atan2(list_distance(unit_a, unit_b), list_distance(unit_a, minus_b))),
            null)
        from units
    ) as figure
    union all
    select 8, 'centroid_distance', (select list_distance(a, b) from units)
    union all
    select 9, 'rows_unchanged', (select found from equal_rows)
),
moved as (
    select
        place, quantity,
        max(figure) filter (side = 1) as a,
        max(figure) filter (side = 2) as b,
        max(figure) filter (side = 2) - max(figure) filter (side = 1) as a_to_b
    from figures
    group by place, quantity
    union all
    select place, quantity, null, null, figure from pair
)
select quantity, a, b, a_to_b
from checked
-- A left join: the check must be made where there is nothing to compare, too.
left join moved on complete
order by place
