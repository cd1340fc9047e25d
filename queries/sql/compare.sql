-- Two models column by column; name each as repo or repo@revision.
-- params: a, b, matrix=output
with picked as (
    select 'a' as side, one.* exclude (revisions) from model_at($a, $matrix) as one
    union all
    select 'b', other.* exclude (revisions) from model_at($b, $matrix) as other
),
-- Every column of the table is compared, so they are not named one by one.
texts as (select side, columns(* exclude (side))::varchar from picked),
long as (
    from texts unpivot include nulls (shown for column_name in (columns(* exclude (side))))
),
positions as (
    select column_name, column_index from duckdb_columns() where table_name = 'models'
)
select
    column_name as "column",
    max(shown) filter (side = 'a') as a,
    max(shown) filter (side = 'b') as b,
    try_cast(max(shown) filter (side = 'b') as double)
        - try_cast(max(shown) filter (side = 'a') as double) as b_minus_a
from long
left join positions using (column_name)
group by column_name, column_index
order by column_index
