"""A gang that mpirun starts: every worker serves ssh, and worker 0 runs the command once all answer.

The variables are Open MPI's, as Kubeflow Trainer sets them (trainer:pkg/runtime/framework/plugins/mpi). The
key pair is the author's Secret, which the operator never reads. sshd needs no root: its port is high, its
host key is the mounted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpufleet.api import training_job
from gpufleet.decide.resources import core
from gpufleet.state import names

SSH_PORT = 2222
FOLDER = "/etc/gpufleet-mpi"
HOSTFILE_KEY = "hostfile"
_KEYS = f"{FOLDER}/ssh"
_HOSTS = f"{FOLDER}/hosts"
_SSH = (
    f"-p {SSH_PORT} -i {_KEYS}/id -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectionAttempts=10 "
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
)
_SCRIPT = f"""\
if [ "$JOB_COMPLETION_INDEX" != 0 ]; then
  exec /usr/sbin/sshd -D -e -f /dev/null -p {SSH_PORT} -o HostKey={_KEYS}/id -o PidFile=none -o UsePAM=no \\
    -o StrictModes=no -o PasswordAuthentication=no -o AuthorizedKeysFile={_KEYS}/authorized_keys
fi
while read -r host _; do
  case "$host" in "${{HOSTNAME%%.*}}".*) continue ;; esac
  until ssh {_SSH} "$host" true; do sleep 1; done </dev/null
done <{_HOSTS}/{HOSTFILE_KEY}
exec "$@"
"""


def is_launched(job: training_job.TrainingJob) -> bool:
    """Whether mpirun starts the workers."""
    return job.spec.framework == "MPI" or job.spec.mpi is not None


def build_env() -> list[dict[str, Any]]:
    """Where Open MPI finds the workers, and how it reaches them."""
    variables = {
        "OMPI_MCA_orte_default_hostfile": f"{_HOSTS}/{HOSTFILE_KEY}",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
        "OMPI_MCA_orte_set_default_slots": "true",
        "OMPI_MCA_plm_rsh_args": _SSH,
    }
    return [{"name": name, "value": value} for name, value in variables.items()]


def build_command(job: training_job.TrainingJob, workers: int) -> tuple[list[str], list[str]]:
    """Command and arguments of every worker; a gang of one reaches nobody."""
    template = job.spec.template
    if not is_launched(job) or workers == 1:
        return list(template.command), list(template.args)
    return ["/bin/sh", "-c", _SCRIPT, "mpi"], [*template.command, *template.args]


def hosts_name(job: training_job.TrainingJob, attempt: int) -> str:
    """The ConfigMap with the hostfile of an attempt."""
    return f"{job.metadata.name}-{attempt}-hosts"


def build_hosts(
    job: training_job.TrainingJob, attempt: int, hosts: Sequence[str], slots: int
) -> dict[str, Any]:
    """The hostfile: one line per worker, with as many slots as it has devices."""
    labels = {names.JOB_LABEL: job.metadata.name, names.ATTEMPT_LABEL: str(attempt)}
    text = "".join(f"{host} slots={slots}\n" for host in hosts)
    name = hosts_name(job, attempt)
    return core.build_config_map(name, job.metadata.namespace, labels, {HOSTFILE_KEY: text})


def build_volumes(job: training_job.TrainingJob, attempt: int) -> list[dict[str, Any]]:
    """Keys and hostfile."""
    keys = [{"key": "ssh-privatekey", "path": "id"}, {"key": "ssh-publickey", "path": "authorized_keys"}]
    secret = job.spec.mpi.ssh_secret_name if job.spec.mpi else ""
    volumes: list[dict[str, Any]] = [{"name": "mpi-hosts", "configMap": {"name": hosts_name(job, attempt)}}]
    if secret:
        source = {"secretName": secret, "items": keys, "defaultMode": 0o440}
        volumes.append({"name": "mpi-ssh", "secret": source})
    return volumes


def build_mounts(job: training_job.TrainingJob) -> list[dict[str, Any]]:
    """Where the worker sees them."""
    mounts = [{"name": "mpi-hosts", "mountPath": _HOSTS, "readOnly": True}]
    return [*mounts, {"name": "mpi-ssh", "mountPath": _KEYS, "readOnly": True}] if job.spec.mpi else mounts
