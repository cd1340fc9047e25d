-- What each measurement cost: bytes read of the repository's, seconds, rate; the most expensive first.
-- params: limit=50
select
    repo, revision, matrix,
    round(fetched_bytes / 1e6, 2) as fetched_mb,
    round(repo_bytes / 1e6, 2) as repository_mb,
    fetched_bytes / nullif(repo_bytes, 0) as share_read,
    requests, retries, fetch_s, measure_s, elapsed_s,
    fetched_bytes / 1e6 / nullif(elapsed_s, 0) as mb_per_s
from measured_rows
order by fetched_bytes desc, repo, sha, matrix
limit $limit
