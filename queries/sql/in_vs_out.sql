-- Untied models with both matrices: tokens dead on one side only, and how far apart the two centroids point.
-- params: repo=*
with pairs as materialized (
    select
        -- A number, as the tokens of each pair are grouped by it.
        row_number() over () as pair,
        out_side.repo, out_side.sha, out_side.revision, out_side.dtype,
        out_side.vocab_rows as rows_out, in_side.vocab_rows as rows_in,
        least(rows_out, rows_in) as common_ids,
        out_side.dead_count as dead_out, in_side.dead_count as dead_in,
        out_side.zero_rows as zero_out, in_side.zero_rows as zero_in,
        out_side.near_zero_rows as near_zero_out, in_side.near_zero_rows as near_zero_in,
        out_side.nonfinite_rows as nonfinite_out, in_side.nonfinite_rows as nonfinite_in
    from models as out_side
    join models as in_side using (repo, sha)
    where out_side.matrix = 'output' and in_side.matrix = 'input' and repo glob $repo
),
members as (
    select pair, matrix = 'output' as is_output, unnest(token_ids) as token_id, common_ids
    from black_holes
    join (select pair, repo, sha, common_ids from pairs) using (repo, sha)
    where repo glob $repo
),
tokens_dead as (
    select
        pair, token_id,
        bool_or(is_output) as on_output,
        bool_or(not is_output) as on_input
    from members
    -- A row that only one side has can be dead only there, which says nothing.
    where token_id < common_ids
    group by pair, token_id
),
sides as (
    select
        pair,
        count(*) filter (on_output and on_input) as dead_both,
        count(*) filter (not on_input) as dead_only_out,
        count(*) filter (not on_output) as dead_only_in,
        list(token_id order by token_id) filter (not on_input) as only_out_ids,
        list(token_id order by token_id) filter (not on_output) as only_in_ids
    from tokens_dead
    group by pair
),
centroids as (
    select repo, sha, out_side.centroid::double[] as a, in_side.centroid::double[] as b
    from vectors as out_side
    join vectors as in_side using (repo, sha)
    where out_side.matrix = 'output' and in_side.matrix = 'input' and repo glob $repo
        and len(out_side.centroid) = len(in_side.centroid)
)
select
    repo, revision,
    coalesce(dead_only_out, 0) as dead_only_out,
    coalesce(dead_only_in, 0) as dead_only_in,
    coalesce(dead_both, 0) as dead_both,
    angle_between_deg(a, b) as centroid_angle_deg,
    dead_out, dead_in, zero_out, zero_in, near_zero_out, near_zero_in, nonfinite_out, nonfinite_in,
    coalesce(only_out_ids, []) as only_out_ids,
    coalesce(only_in_ids, []) as only_in_ids,
    sha
from pairs
left join sides using (pair)
left join centroids using (repo, sha)
union all by name
-- An unknown model is an error, and not an empty answer.
select null as repo from unknown_models($repo)
order by dead_only_out + dead_only_in desc, repo, sha
