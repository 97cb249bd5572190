"""Trains a variant on a fold with `caffe train`, in a run folder; the same command resumes.

    python3 -m tools.train --dataset demo --variant s1r1 --fold 3

writes runs/demo/s1r1/fold3_seed1/: net.prototxt, deploy.prototxt, solver.prototxt, run.json
(settings), log.txt (Caffe's own), metrics.csv (losses by iteration), snapshots/ (the last two). At
the end batch norm's averages are taken once more (tools/core/batchnorm_averages.py), and run.json
keeps the checksum of the weights. Ctrl-C makes Caffe write a snapshot and stop.

A run that was resumed is a fair run, but not bit by bit the one that was never stopped: a snapshot
of Caffe holds weights and their history, not the place in the data nor the state of the random
numbers. So after a resume the training data are read from their first record again, with other
random numbers.
"""
import collections
import contextlib
import fcntl
import json
import math
import os
import re
import shutil
import signal
import sys
import time

from data_prep import pair_lmdb
from prototxt import net
from tools.core import (
    caffe_log,
    caffe_process,
    child,
    files,
    fold_data,
    logged,
    metrics,
    request,
    run_folder,
    run_prototxt,
    snapshots,
    tested_run,
)

# What is trained. run: a dict, as run.json; gpu: its ID, None for the CPU; stopped: the signals
# received, a list that fills.
Task = collections.namedtuple('Task', 'folder run gpu stopped')


def main(words=None):
    stopped = child.catch_signals()
    folder = 'This run'
    try:
        folder, run, gpu = request.read_request(sys.argv[1:] if words is None else words)
        with lock(folder) as held:
            return train(Task(folder, run, gpu, stopped), held)
    except OSError as error:
        raise SystemExit(f'{folder} cannot be trained: {error}.') from None


def lock(folder):
    """The open lock file of a run, beside its folder; it holds the engine and the name of our
    container, where we are in one (docker/enter).

    SystemExit where another process trains it, with the container of that.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = open(run_folder.lock_of(folder), 'a+')
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with held:
            held.seek(0)
            who = re.fullmatch(r'(docker|podman) ([\w.-]+)', held.read(200))
        ending = f', or end it: `{who[1]} stop --time 60 {who[2]}`' if who else ''
        raise SystemExit(f'{folder} is being trained by another process: wait for it{ending}.'
                         ) from None
    held.truncate(0)
    held.write(os.environ.get('GCNET_CONTAINER', ''))
    held.flush()
    return held


def train(task, held):
    """Trains until run['iterations'] or a signal, returns the exit code.

    held: the lock, for Caffe too.
    """
    folder, run = task.folder, task.run
    if run['variant'] == 'degan' and not run['referred']:
        raise SystemExit('degan draws on neutral faces, and no training image has a reference; the '
                         'account of `make data` says why. VARIANT=disentangled needs none.')
    start = resume(folder, run)
    # A run that was stopped between its last iteration and its averages lacks these alone.
    if start and start.iteration == run['iterations']:
        earlier = run_folder.read_settings(folder)
        if earlier.get('averaged_at') == earlier['iterations'] == start.iteration:
            print(f'Already trained: {start.caffemodel}.')
            return 0
        end_here(folder, start.iteration)
        return finish(task)

    if start is None:
        refuse_to_lose(folder)
    else:  # the weights that it began with, whatever their files hold now
        run['weights_sha256'] = run_folder.read_settings(folder).get('weights_sha256', [])
    run['begun'] = start.iteration if start else 0
    texts = run_prototxt.texts(folder, run)
    # Where all that runs is told to end, as by a cluster, Caffe still writes what we ask it for.
    # (Ignored, the signal would not stay so: glog handles it, and ends Caffe.)
    command = ['env', '--block-signal=TERM', 'caffe', 'train',
               '-solver', folder / 'solver.prototxt', '-sigint_effect', 'stop']
    if start:
        command += ['-snapshot', start.solverstate]
    elif run['weights']:
        request.check_weights(run['weights'], texts['net.prototxt'])
        command += ['-weights', ','.join(run['weights'])]
    if task.gpu is not None:
        command += ['-gpu', task.gpu]

    # Nothing is written before all that the command asks for has been checked.
    rows = prepare(folder, run, texts)
    started = logged.start(folder, command, caffe_process.environment(), pass_fds=[held.fileno()])
    print(f'{folder}: iteration {run["begun"]} to {run["iterations"]}.', flush=True)
    warn(run)
    try:
        watch(task, started, rows)
    finally:  # nobody is to be left who writes into the folder
        started.process.kill()
        started.process.wait()
    snapshots.prune(folder, math.inf)
    return tell_ending(task, started) or finish(task)


def warn(run):
    """Says on stderr what a GCNet or a generator cannot learn from these data."""
    draws = run['variant'] == 'generator' or run['variant'] in net.GCNETS
    if draws and not run.get('referred', 1):
        print('No training image has a reference: Gen,r is 0, and nothing teaches the generator '
              'what to draw; the account of `make data` says why.', file=sys.stderr)


def finish(task):
    """Takes batch norm's averages for the last weights; returns the exit code.

    Keeps the checksum of what is written. SystemExit where other data were built meanwhile.
    """
    tested_run.check_data(task.folder, run_folder.read_settings(task.folder))
    command = [sys.executable, '-m', 'tools.core.batchnorm_averages', task.folder]
    started = logged.start(task.folder, command + ([] if task.gpu is None else [task.gpu]),
                           caffe_process.environment(level=2))
    print("Taking batch norm's averages for the last weights.", flush=True)
    try:
        while started.process.poll() is None and not task.stopped:
            time.sleep(0.1)
    finally:
        started.process.kill()
        started.process.wait()

    code = started.process.returncode
    if task.stopped and code:
        print('Stopped at the very end: the same command goes on from there.', file=sys.stderr)
        return 130
    if code:
        why = logged.reason(started) or f'exit code {code}'
        raise SystemExit(f"Batch norm's averages could not be taken ({why.rstrip('.')}): "
                         f'give the same command again; {started.log}.')

    # Of other weights, where the run was tested before and went on from an earlier snapshot.
    (task.folder / 'result.json').unlink(missing_ok=True)
    # run.json comes last: what has `averaged_at` is a run that is complete. Another length may
    # stand in it, of which a run was asked for that then ended here.
    reached = task.run['iterations']
    (last,) = (snapshot for snapshot in snapshots.find_snapshots(task.folder)
               if snapshot.iteration == reached)
    averaged = {**run_folder.read_settings(task.folder), 'iterations': reached,
                'command': task.run['command'], 'averaged_at': reached,
                'sha256': pair_lmdb.checksum(last.caffemodel)}
    files.write(task.folder / 'run.json', json.dumps(averaged, indent=2) + '\n')
    print(f'Trained: {last.caffemodel}.')
    return 0


def resume(folder, run):
    """The snapshot to go on from, None to start.

    SystemExit where the run was trained with other settings.
    """
    start = snapshots.last_snapshot(folder)
    if start is None:
        return None
    earlier = run_folder.read_settings(folder)
    names = [name for name in ('base_lr', 'batch', 'weights', 'settings')
             if earlier.get(name) != run[name]]
    changed = [f'{name} was {earlier.get(name)}, now {run[name]}'
               for name in names + fold_data.differences(earlier, run)]
    if not changed and request.other_start(earlier, run):
        changed = [f'{", ".join(run["weights"])} held other weights']

    # A kill between its prototxt files and its run.json leaves files of the place where it was to
    # go on.
    begins = [earlier.get('begun', 0), start.iteration]
    if not changed and run_prototxt.written_otherwise(folder, run, begins):
        changed = ['prototxt/net.py now writes another network or solver']
    if not changed and start.iteration > run['iterations']:
        changed = [f'for {start.iteration} iterations, more than ITERS={run["iterations"]}']
    if changed:
        raise SystemExit(f'{folder} was trained otherwise ({"; ".join(changed)}): '
                         'use another SEED, or remove that folder.')
    # Of a complete run that is to go on, last_snapshot has not looked at the solverstate.
    if start.iteration < run['iterations'] and earlier.get('averaged_at') == start.iteration:
        start = snapshots.last_snapshot(folder, to_go_on=True)
        if start is None:
            raise SystemExit(f'{folder} has no whole solverstate, so the training cannot go on: '
                             'use another SEED, or remove that folder.')
    return start


def refuse_to_lose(folder):
    """SystemExit where a run that is to begin anew was complete or tested once: its results would
    be gone."""
    ended = None
    with contextlib.suppress(SystemExit):  # what cannot be read tells of no end
        ended = run_folder.read_settings(folder).get('averaged_at')
    if ended is not None or (folder / 'result.json').exists():
        raise SystemExit(f'{folder} was complete, but has no snapshot that can be used: give '
                         'another SEED, or remove that folder to train it again.')


def prepare(folder, run, texts):
    """Writes the run's files; returns the rows of metrics.csv.

    Removes what is later than its beginning.
    """
    (folder / 'snapshots').mkdir(parents=True, exist_ok=True)
    snapshots.remove_after(folder, run['begun'])
    if run['begun'] == 0:  # one that was killed before its first snapshot
        (folder / 'log.txt').unlink(missing_ok=True)

    path = folder / 'metrics.csv'
    kept = metrics.read_metrics(path) if path.exists() else []
    # Caffe shows the iteration that it goes on from once more.
    rows = [row for row in kept if row['iteration'] < run['begun']]
    rows += missed(folder, rows, run['begun'])
    metrics.write_metrics(path, rows)

    for name, text in texts.items():
        files.write(folder / name, text)
    # From here on it is not tested as complete, even where its last snapshot stays.
    files.write(folder / 'run.json', json.dumps({**run, 'averaged_at': None}, indent=2) + '\n')
    return rows


def end_here(folder, iteration):
    """Removes what a run has of later iterations than its last whole snapshot, at which it is to
    end, and its test, which may be of other averages."""
    snapshots.remove_after(folder, iteration)
    (folder / 'result.json').unlink(missing_ok=True)
    path = folder / 'metrics.csv'
    if path.exists():
        metrics.write_metrics(path, [row for row in metrics.read_metrics(path)
                                     if row['iteration'] <= iteration])


def missed(folder, rows, end):
    """The rows before iteration `end` that Caffe's log has and metrics.csv, which ends earlier, has
    not: shown just before a kill."""
    last, seconds = (rows[-1]['iteration'], rows[-1].get('seconds', 0)) if rows else (-1, 0.0)
    try:
        with open(folder / 'log.txt', encoding='utf-8', errors='replace') as log:
            # A resume repeats iterations: of one done twice, the later counts.
            logged = {row['iteration']: row for row in caffe_log.rows(log)}
    except FileNotFoundError:
        return []
    return [{'iteration': iteration, 'seconds': seconds, **logged[iteration]}
            for iteration in sorted(logged) if last < iteration < end]


def watch(task, started, rows):
    """Follows Caffe's log to its end: progress, metrics.csv, snapshots.

    SystemExit if the loss is nan.
    """
    folder, begun = task.folder, task.run['begun']
    before = rows[-1].get('seconds', 0) if rows else 0
    clock = time.monotonic()
    sound = begun  # the last iteration with a finite loss
    with logged.progress(begun, task.run['iterations']) as show:
        for row in caffe_log.rows(logged.follow(started, task.stopped)):
            # Snapshots of after the last finite loss may hold such weights: none of them is kept.
            if not math.isfinite(row.get('loss', 0)):
                started.process.kill()
                started.process.wait()
                snapshots.remove_after(folder, sound)
                advise(folder, task.run, row)
            if 'loss' in row:
                sound = row['iteration']
                show(row)
            seconds = round(before + time.monotonic() - clock, 1)
            rows.append({'iteration': row['iteration'], 'seconds': seconds, **row})
            metrics.write_metrics(folder / 'metrics.csv', rows)
            snapshots.prune(folder, sound)  # those up to here: a later one may prove to be no good


def advise(folder, run, row):
    """SystemExit for an iteration whose loss is nan or inf."""
    bad = ', '.join(f'{name} = {value}' for name, value in row.items() if not math.isfinite(value))
    kept = snapshots.find_snapshots(folder)
    again = 'start again'
    if kept:
        again = f'up to {kept[-1].iteration} it is kept; use another SEED, or remove that folder,'
    raise SystemExit(f'{folder} diverged at iteration {row["iteration"]} ({bad}): {again} '
                     f'with an LR smaller than {run["base_lr"]}.')


def tell_ending(task, started):
    """Says how training ended; returns the exit code, or SystemExit for a failure."""
    code, stopped = started.process.returncode, task.stopped
    last = snapshots.last_snapshot(task.folder)
    if code == 0 and last and last.iteration == task.run['iterations']:
        return 0
    if stopped and code in (0, -signal.SIGINT):
        where = 'before any snapshot'
        if last:
            where = f'after iteration {last.iteration}, {last.caffemodel}'
        print(f'Stopped {where}: the same command goes on from there.', file=sys.stderr)
        return 130
    if code < 0 and -code != signal.SIGABRT:
        raise SystemExit(f'Caffe was ended by signal {-code} (memory full?): start again to go on; '
                         f'{started.log}.')

    why = logged.reason(started)
    if full(task.folder):  # Caffe says of a snapshot that it could not be serialized, or nothing
        raise SystemExit(f'The disk of {task.folder} is full, and Caffe could not write there: '
                         'make room and give the same command again.')
    # `caffe` does not print what a Python layer raised at its set-up, pycaffe does
    if why is None and code:
        caffe_process.blob_shapes(run_folder.read_text(task.folder / 'net.prototxt'))
    why = why or ('no whole snapshot at the end' if code == 0 else f'exit code {code}')
    raise SystemExit(f'Caffe stopped: {why.rstrip(".")}; see {started.log}.')


def full(folder):
    """Whether the disk of a folder has no room left, for what Caffe writes: less than a page."""
    return shutil.disk_usage(folder).free < 4096


if __name__ == '__main__':
    sys.exit(main())
