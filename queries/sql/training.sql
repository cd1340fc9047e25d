-- Training runs at their first and last recorded step: the dead rows' gradient, angle, centroid and radius.
select
    setup, precision, init_scale, dim, seed, last_step,
    dead_grad_norm[1] as dead_grad, live_dead_ratio[1] as live_dead,
    centroid_angle_deg[1] as first_angle, centroid_angle_deg[-1] as last_angle,
    centroid_norm[-1] as centroid, mean_radius[-1] as radius, loss_last as loss, steps_per_s
from training_runs
order by setup, dim, init, init_scale, precision, learning_rate, seed, last_step, run
