-- What the scale of the initial rows does to the dead rows' first gradient, averaged over runs.
-- params: setup=goldilocks
select
    init, init_scale, dim, precision, count(*) as runs,
    avg(dead_grad_norm[1]) as dead_grad_norm, avg(live_grad_norm[1]) as live_grad_norm,
    avg(live_dead_ratio[1]) as live_dead_ratio, avg(coherence[1]) as coherence,
    avg(hidden_cosine[1]) as hidden_cosine, avg(loss[1]) as first_loss, avg(loss_last) as last_loss
from training_runs
where setup = $setup and steps[1] = 1
group by init, init_scale, dim, precision
order by init, init_scale, dim, precision
