#!/bin/bash
# One Ray over all nodes of a Slurm job: starts it, runs the survey on the first node, ends it.
#
#   sbatch slurm.sh
#
#SBATCH --job-name=survey
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1     # one Ray on each node, with all that the node has
#SBATCH --exclusive             # `ray symmetric-run` ends with `ray stop`: every Ray of yours on the node
#SBATCH --time=04:00:00
# For GPUs, with as many as a node has:
##SBATCH --gpus-per-node=1

set -euo pipefail

# The environment with the package, on a disk that all nodes see.
source "$HOME/survey-venv/bin/activate"

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS="$head_node:6379"

# Ray asks for a token by default; srun hands both variables to all nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

# The catalog is written on the first node only. Submitted again, the job does what is left.
srun --kill-on-bad-exit=0 ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
  survey run "$SLURM_SUBMIT_DIR/models.txt" --catalog "$SLURM_SUBMIT_DIR/catalog"
