-- One model's biased exponents, dead rows against live: how many elements have each, and their shares.
-- params: repo, matrix=output
with checked as (
    select case
        when count(*) = 0
            then error(if(
                $repo in (select repo from attempts),
                'exponents: ' || $repo || ' is not in the catalog as ' || $matrix,
                not_there($repo)
            ) || repeat('', count(*)))
        else true
    end as complete
    from models
    where repo = $repo and matrix = $matrix
),
counted as (
    select exponents.*
    from exponents
    join models using (repo, sha, matrix)
    where repo = $repo and matrix = $matrix
)
select
    exponent, all_count, dead_count, live_count,
    dead_count / nullif(sum(dead_count) over (), 0) as dead_share,
    live_count / nullif(sum(live_count) over (), 0) as live_share
from checked
left join counted on complete
order by exponent
