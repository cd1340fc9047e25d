-- Models whose last attempt failed, grouped by the reason; the most frequent first.
select
    reason, count(*) over (partition by reason) as of_this_reason,
    repo, revision, matrix, message, tries, finished_at
from last_attempts()
where status = 'failed'
order by of_this_reason desc, reason, repo, revision, matrix
