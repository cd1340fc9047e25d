-- What was surveyed and what was refused: models by the outcome of their last attempt, with an example.
with last_attempts as (
    select repo, revision, matrix, status, reason, finished_at, run_id
    from attempts
    -- A pattern of revisions is recorded by itself only where it failed as a whole.
    where not contains(revision, '*') or not exists (
        from attempts as later
        where later.repo = attempts.repo and later.run_id > attempts.run_id
    )
    qualify row_number() over (
        partition by repo, revision, matrix order by finished_at desc, run_id desc
    ) = 1
),
outcomes as (
    select
        if(status = 'failed', 'refused', 'surveyed') as outcome,
        if(status = 'failed', reason, null) as reason,
        repo, finished_at
    from last_attempts
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
