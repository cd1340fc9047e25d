-- Two models column by column; name each as repo or repo@revision.
-- params: a, b, matrix=output
with picked as (
    select side, models.*
    from (values ('a', $a), ('b', $b)) as wanted(side, model)
    join models
        on repo = split_part(model, '@', 1)
        and (
            not contains(model, '@')
            or revision = split_part(model, '@', 2)
            or starts_with(sha, split_part(model, '@', 2))
        )
    where matrix = $matrix
    qualify row_number() over (partition by side order by measured_at desc) = 1
),
-- Every column of the table is what is compared, so they are not named one by one.
texts as (select side, columns(* exclude (side))::varchar from picked),
long as (
    from texts unpivot include nulls (shown for column_name in (columns(* exclude (side))))
),
places as (
    select column_name, column_index from duckdb_columns() where table_name = 'models'
)
select
    column_name as "column",
    max(shown) filter (side = 'a') as a,
    max(shown) filter (side = 'b') as b,
    try_cast(max(shown) filter (side = 'b') as double)
        - try_cast(max(shown) filter (side = 'a') as double) as b_minus_a
from long
join places using (column_name)
where
    (select count(*) from picked) = 2
    or error('compare: ' || $a || ' or ' || $b || ' is not in the catalog as ' || $matrix)
group by column_name, column_index
order by column_index
