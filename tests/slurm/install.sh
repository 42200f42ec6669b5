#!/bin/sh
# Debian's SLURM for `make slurm-test`, where it is missing.
set -eu
for program in munged slurmctld slurmd sbatch srun squeue; do
    command -v "$program" >/dev/null || missing=1
done
[ -n "${missing:-}" ] || exit 0
packages="munge slurmctld slurmd slurm-client"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "make slurm-test starts a SLURM on this machine. It needs root and: apt-get install --no-install-recommends $packages" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages >/dev/null
