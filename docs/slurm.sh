#!/usr/bin/env bash
#SBATCH --job-name=radisim-cl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
# A task a GPU, and a rank a task. Five minutes before the time is up, or when the job is preempted, every rank is told to stop: the run is saved within a
# step and ends with 75, and the job is queued again and goes on exactly where it was. The arguments are those of `radisim-cl run`:
#   sbatch docs/slurm.sh curricula/radiologist.yaml --profile paper --catalog my.yaml --out /shared/runs/radiologist
set -uo pipefail
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=${MASTER_PORT:-29500}
# shellcheck disable=SC2016  # the task's variables, not the job's
srun --kill-on-bad-exit=0 bash -c \
  'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS; exec python -m radisim_cl run "$@"' task "$@" &
step=$!
trap 'kill -USR1 "$step"' USR1 TERM # srun passes it on to its tasks
while :; do
  wait "$step"
  code=$?
  if [ "$code" -le 128 ] || ! kill -0 "$step" 2> /dev/null; then break; fi # a signal ends `wait`, not the step
done
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
