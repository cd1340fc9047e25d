-- Two models column by column; name each as repo or repo@revision.
-- params: a, b, matrix=output
with asked as (
    -- A folder's name may hold an @, so the whole text is a repo where there is one of that name.
    select
        side,
        if(exact, model, split_part(model, '@', 1)) as name,
        if(exact, '', split_part(model, '@', 2)) as at_revision
    from (
        select side, model, exists (from models_history where repo = model) as exact
        from (values ('a', $a), ('b', $b)) as wanted(side, model)
    )
),
picked as (
    select side, models_history.* exclude (revisions)
    from asked
    join models_history
        on repo = name
        and (
            at_revision = ''
            or list_contains(revisions, at_revision)
            or starts_with(sha, at_revision)
        )
    where matrix = $matrix
    -- Where no revision is named, the current one.
    qualify row_number() over (
        partition by side
        order by (repo, sha, matrix) in (select (repo, sha, matrix) from models) desc, measured_at desc, sha
    ) = 1
),
-- Every column of the table is what is compared, so they are not named one by one.
texts as (select side, columns(* exclude (side))::varchar from picked),
long as (
    from texts unpivot include nulls (shown for column_name in (columns(* exclude (side))))
),
places as (
    select column_name, column_index from duckdb_columns() where table_name = 'models'
),
checked as (
    select (select count(*) from picked) = 2 or error(
        'compare: not in the catalog as ' || $matrix || ': '
        || (select string_agg(name || if(at_revision = '', '', '@' || at_revision), ', ' order by side)
            from asked where side not in (select side from picked))
    ) as complete
)
select
    column_name as "column",
    max(shown) filter (side = 'a') as a,
    max(shown) filter (side = 'b') as b,
    try_cast(max(shown) filter (side = 'b') as double)
        - try_cast(max(shown) filter (side = 'a') as double) as b_minus_a
from checked
-- A left join: the check must be made where there is nothing to compare, too.
left join long on complete
left join places using (column_name)
group by column_name, column_index
order by column_index
