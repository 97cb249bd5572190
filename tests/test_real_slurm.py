"""tools/cv.sbatch by a real SLURM of one node. It is started for these tests alone, on ports and
with a key of its own, and ended by its numbers. It needs root, and is for the outside of the
environment:

    apt-get install slurm-wlm munge python3-pytest
    GCNET_REAL_SLURM=1 python3 -m pytest -rs -p no:cacheprovider tests/test_real_slurm.py

About five minutes. The environment has to be made before (`make shell`).
"""
import collections
import contextlib
import csv
import functools
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import outside
import pytest

outside.needs('GCNET_REAL_SLURM', 'a SLURM', 'slurmctld', 'slurmd', 'munged')
wait_for = functools.partial(outside.wait_for, seconds=900, step=0.5)

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ['happy', 'sadness']
PEOPLE = 8  # a picture each, in the training and the test part
DATA = f'''
import shutil, sys
from pathlib import Path
sys.path.insert(0, 'tests')
import places
places.build_smooth(Path('.'), {PEOPLE}, {CLASSES})
for fold in 1, 2:
    shutil.copytree('data/demo/fold0', f'data/demo/fold{{fold}}')
Path('runs').mkdir()
'''
# Nothing here needs cgroups. cred_expire: a task that was requeued waits so many seconds and more.
CONFIGURATION = '''
ClusterName=gcnet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE
'''


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    """A checkout with three small folds, and a function that runs a command of SLURM's there."""
    folder = tmp_path_factory.mktemp('slurm')
    host = socket.gethostname().split('.')[0]
    controller, node = free_ports(2)
    for name in 'munge', 'state', 'spool':
        (folder / name).mkdir()
    (folder / 'munge/key').write_bytes(os.urandom(1024))
    (folder / 'munge/key').chmod(0o400)
    (folder / 'slurm.conf').write_text(CONFIGURATION.format(
        host=host, controller=controller, node=node, folder=folder))
    environment = {**os.environ, 'SLURM_CONF': str(folder / 'slurm.conf')}

    checkout = folder / 'check out'
    outside.copy_checkout(ROOT, checkout)
    subprocess.run(['docker/enter', 'python3', '-c', DATA], cwd=checkout, check=True)

    def run(*words, check=True):
        done = subprocess.run(words, cwd=checkout, env=environment, check=check, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    munge = [f'--{name}={folder}/munge/{file}' for name, file in [
        ('key-file', 'key'), ('socket', 'socket'), ('pid-file', 'pid'), ('log-file', 'log'),
        ('seed-file', 'seed')]]
    with contextlib.ExitStack() as stack:
        for program, *words in (['munged', '--foreground', '--force', *munge],
                                ['slurmctld', '-D'], ['slurmd', '-D', '-N', host]):
            stack.enter_context(ended(subprocess.Popen(
                [program, *words], env=environment, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)))
            if program == 'munged':
                wait_for((folder / 'munge/socket').exists)
        wait_for(lambda: 'idle' in run('sinfo', '--noheader', check=False))
        yield SimpleNamespace(checkout=checkout, run=run)
        run('scancel', '--user=root', check=False)
        wait_for(lambda: not run('squeue', '--noheader', check=False).strip())


@contextlib.contextmanager
def ended(process):
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def submit(cluster, tasks, *words, options=()):
    """-> the array's number"""
    said = cluster.run('sbatch', '--parsable', f'--array={tasks}', *options, 'tools/cv.sbatch',
                       '--dataset', 'demo', '--variants', 'cnn', '--batch', '2', *words)
    assert re.fullmatch(r'\d+\n', said), said
    return said.strip()


def is_over(cluster, job):
    return not cluster.run('squeue', '--noheader', '--array', '--jobs', job, check=False).strip()


def run_of(cluster, fold):
    return cluster.checkout / f'runs/demo/cnn/fold{fold}_seed1'


def snapshots(run):
    return [int(path.stem.split('_')[-1]) for path in run.glob('snapshots/*.solverstate')]


def begun(run):
    """The iterations that each of its trainings began with."""
    return [int(found) for found in re.findall(r'iter_(\d+)\.solverstate',
            ''.join(line for line in (run / 'log.txt').read_text().splitlines(True)
                    if 'Resuming from' in line))]


def test_an_array_with_a_task_that_is_killed_and_requeued_is_gathered_once(cluster):
    job = submit(cluster, '1-2', '--folds', '0 1', '--iters', '100', options=['--requeue'])
    first, second = run_of(cluster, 0), run_of(cluster, 1)
    wait_for(lambda: snapshots(first))
    cluster.run('scontrol', 'requeue', f'{job}_1')
    wait_for(lambda: is_over(cluster, job))

    said = (cluster.checkout / f'runs/slurm_{job}_1.txt').read_text()
    assert (first / 'result.json').exists(), said
    # It was told to end, and wrote where it was: no iteration was lost.
    assert begun(first) == [int(re.search(r'Stopped after iteration (\d+)', said)[1])]
    assert begun(second) == []
    rows = gathered(cluster)
    assert {row['iterations'] for row in rows} == {'100'}
    assert collections.Counter(row['fold'] for row in rows) == {'0': PEOPLE, '1': PEOPLE}
    keys = [(row['fold'], row['subject'], row['frame']) for row in rows]
    assert len(set(keys)) == len(keys)

    # Submitted again, what is complete is only tested again.
    trained = (first / 'log.txt').stat().st_mtime
    job = submit(cluster, '1-2', '--folds', '0 1', '--iters', '100')
    wait_for(lambda: is_over(cluster, job))
    assert (first / 'log.txt').stat().st_mtime == trained
    assert gathered(cluster) == rows


def gathered(cluster):
    cluster.run('docker/enter', 'python3', '-m', 'tools.core.predictions', '--dataset', 'demo')
    with open(cluster.checkout / 'runs/demo/results.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_a_task_whose_time_ends_writes_a_snapshot_and_goes_on_when_submitted_again(cluster):
    words = ['--folds', '2', '--iters']
    # SLURM counts in minutes: the signal comes about half a minute after the start.
    job = submit(cluster, '1', *words, '1000000', options=['--time=2', '--signal=B:INT@90'])
    wait_for(lambda: is_over(cluster, job))
    run = run_of(cluster, 2)
    said = (cluster.checkout / f'runs/slurm_{job}_1.txt').read_text()
    last = int(re.search(r'after iteration (\d+)', said)[1])
    assert 'Stopping: Caffe ends its iteration' in said and max(snapshots(run)) == last

    job = submit(cluster, '1', *words, str(last + 50))
    wait_for(lambda: is_over(cluster, job))
    said = (cluster.checkout / f'runs/slurm_{job}_1.txt').read_text()
    assert f'iteration {last} to {last + 50}' in said and (run / 'result.json').exists(), said


def test_a_task_beyond_the_list_says_how_many_there_are(cluster):
    job = submit(cluster, '4', '--folds', '0 1', '--iters', '10')
    wait_for(lambda: is_over(cluster, job))
    said = (cluster.checkout / f'runs/slurm_{job}_4.txt').read_text()
    assert 'submit with --array=1-2' in said
