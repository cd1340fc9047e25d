-- The largest black holes of all models: how many rows, how long their vector, which tokens.
-- params: limit=20, matrix=output, stored_as=*
select
    models.repo, stored_as, family, rank, population, norm, angle_to_live_deg, token_ids[1] as first_token
from black_holes
join models using (repo, sha, matrix)
where matrix = $matrix and stored_as glob $stored_as
order by population desc, models.repo, models.sha, rank
limit $limit
