-- What was surveyed and what was refused: models by the outcome of their last attempt, with an example.
with outcomes as (
    select
        if(status = 'failed', 'refused', 'surveyed') as outcome,
        if(status = 'failed', reason, null) as reason,
        repo, finished_at
    from last_attempts()
)
select
    outcome, reason,
    count(distinct repo) as models,
    count(*) as matrices,
    count(*) / sum(count(*)) over () as share,
    min(repo) as example,
    max(finished_at) as last_attempt
from outcomes
group by outcome, reason
order by outcome desc, matrices desc, reason
