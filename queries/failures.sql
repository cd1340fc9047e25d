-- Models whose last attempt failed, grouped by the reason; the most frequent first.
with failing as (
    from attempts
    -- A pattern of revisions is recorded by itself only where it failed as a whole.
    where not contains(revision, '*') or not exists (
        from attempts as later
        where later.repo = attempts.repo and later.run_id > attempts.run_id
    )
    qualify row_number() over (
        partition by repo, revision, matrix order by finished_at desc, run_id desc
    ) = 1 and status = 'failed'
)
select
    reason, count(*) over (partition by reason) as of_this_reason,
    repo, revision, matrix, message, tries, finished_at
from failing
order by of_this_reason desc, reason, repo, revision, matrix
