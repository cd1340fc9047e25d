-- How many rows of each model are in each class of dead rows, and in each other class as well.
-- params: repo=*, matrix=output
-- Rows of older versions do not say it: their per-token tables are read.
-- tokens of: from chosen_rows($repo, $matrix) where class_overlaps is null
with classes (number, class) as (
    values
        (1, 'identical'), (2, 'zero'), (3, 'near_zero'), (4, 'nonfinite'),
        (5, 'frozen'), (6, 'undertrained'), (7, 'phantom'), (8, 'unreachable')
),
chosen as (
    from chosen_rows($repo, $matrix)
),
-- Which classes are known: without a tokenizer a row is neither a phantom nor not one.
known as (
    select
        repo, sha, matrix,
        [
            bool_or(identical is not null), bool_or(zero is not null), bool_or(near_zero is not null),
            bool_or(nonfinite is not null), bool_or(frozen is not null), bool_or(undertrained is not null),
            bool_or(phantom is not null), bool_or(reach is not null)
        ] as is_known
    from tokens
    semi join (from chosen where class_overlaps is null) using (repo, sha, matrix)
    group by repo, sha, matrix
),
members as (
    select
        repo, sha, matrix, identical, zero, near_zero, nonfinite, frozen, undertrained, phantom, unreachable,
        unnest(
            list_filter(
                [
                    if(identical, 1, 0), if(zero, 2, 0), if(near_zero, 3, 0), if(nonfinite, 4, 0),
                    if(frozen, 5, 0), if(undertrained, 6, 0), if(phantom, 7, 0), if(unreachable, 8, 0)
                ],
                lambda number: number > 0
            )
        ) as number
    from tokens
    semi join (from chosen where class_overlaps is null) using (repo, sha, matrix)
),
counted as (
    select
        known.repo, known.sha, classes.number,
        if(is_known[classes.number], count(members.number), null) as rows,
        if(is_known[classes.number] and is_known[1], count(*) filter (identical), null) as identical,
        if(is_known[classes.number] and is_known[2], count(*) filter (zero), null) as zero,
        if(is_known[classes.number] and is_known[3], count(*) filter (near_zero), null) as near_zero,
        if(is_known[classes.number] and is_known[4], count(*) filter (nonfinite), null) as nonfinite,
        if(is_known[classes.number] and is_known[5], count(*) filter (frozen), null) as frozen,
        if(is_known[classes.number] and is_known[6], count(*) filter (undertrained), null) as undertrained,
        if(is_known[classes.number] and is_known[7], count(*) filter (phantom), null) as phantom,
        if(is_known[classes.number] and is_known[8], count(*) filter (unreachable), null) as unreachable
    from known
    cross join classes
    left join members
        on known.repo = members.repo and known.sha = members.sha and known.matrix = members.matrix
        and classes.number = members.number
    group by known.repo, known.sha, classes.number, is_known
),
stored as (
    select
        repo, sha, number,
        counts[number] as rows,
        counts[1] as identical, counts[2] as zero, counts[3] as near_zero, counts[4] as nonfinite,
        counts[5] as frozen, counts[6] as undertrained, counts[7] as phantom, counts[8] as unreachable
    from (
        select repo, sha, unnest(range(1, 9)) as number, unnest(class_overlaps) as counts
        from chosen
        where class_overlaps is not null
    )
)
select repo, class, rows, identical, zero, near_zero, nonfinite, frozen, undertrained, phantom, unreachable
from (
    from counted
    union all by name
    from stored
    union all by name
    -- An unknown model is an error, and not an empty answer.
    select null as repo from unknown_models($repo)
)
join classes using (number)
order by repo, sha, number
