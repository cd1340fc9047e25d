-- Which versions of the survey and of each measure the rows come from.
with each_measure as (
    select
        unnest(map_entries(measures)) as entry,
        survey_version, repo, measured_at
    from measured_rows
)
select
    entry.key as measure,
    entry.value as version,
    survey_version,
    count(*) as matrices,
    count(distinct repo) as models,
    min(measured_at) as first_measured,
    max(measured_at) as last_measured
from each_measure
group by all
order by measure, version desc, survey_version desc
