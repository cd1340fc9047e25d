-- Training runs: what the dead rows did from the first recorded step to the last, and how fast it went.
select
    setup, run, precision, init, init_scale, dim, learning_rate, seed, last_step,
    dead_grad_norm[1] as first_dead_grad, live_dead_ratio[1] as first_live_dead_ratio,
    centroid_angle_deg[1] as first_angle_deg, centroid_angle_deg[-1] as last_angle_deg,
    centroid_norm[1] as first_centroid_norm, centroid_norm[-1] as last_centroid_norm,
    mean_radius[1] as first_radius, mean_radius[-1] as last_radius,
    loss_last, loss_stop_step, steps_per_s
from training_runs
order by setup, dim, init, init_scale, precision, learning_rate, seed, last_step, run
