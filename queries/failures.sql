-- Models whose last attempt failed, with the reason.
select reason, repo, revision, matrix, message, tries, finished_at
from attempts
qualify row_number() over (partition by repo, revision, matrix order by finished_at desc, run_id desc) = 1
    and status = 'failed'
order by reason, repo, revision, matrix
