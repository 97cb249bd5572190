"""Trains one variant on one fold with `caffe train`, in a run folder of its own; the same command
resumes.

    python3 -m tools.train --dataset demo --variant s1r1 --fold 3

writes runs/demo/s1r1/fold3_seed1/: net.prototxt, deploy.prototxt, solver.prototxt, run.json
(settings), log.txt (Caffe's own), metrics.csv (losses by iteration), snapshots/ (the last two). At
the end batch norm's averages are taken once more (tools/core/batchnorm_averages.py). Ctrl-C makes
Caffe write a snapshot and stop. After a resume Caffe reads the training data from its first record
again, but with other random numbers.
"""
import contextlib
import csv
import fcntl
import io
import json
import math
import os
import signal
import subprocess
import sys
import time

from caffe.proto import caffe_pb2
from google.protobuf import text_format
from tqdm import tqdm

from prototxt import net
from tools.core import (
    caffe_log,
    caffe_process,
    class_balance,
    files,
    fold_data,
    request,
    run_folder,
    snapshots,
)

KEPT = 2  # snapshots
# what Gen,r of a copy of X weighs with pixel_scale=relative, in the mean: on the demo set the scale
# is then 1
COPIED = 10
QUIET = 30  # seconds between two lines of progress where there is no terminal
# What Caffe counts by and where it runs: may change when a run goes on.
LENGTH = ('max_iter', 'test_iter', 'test_interval', 'display', 'snapshot', 'solver_mode')


def main(words=None):
    stopped = []  # signals received
    for received in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # ignored under nohup
        if received != signal.SIGHUP or signal.getsignal(received) != signal.SIG_IGN:
            signal.signal(received, lambda number, frame: stopped.append(number))
    folder, run, gpu = request.read_request(sys.argv[1:] if words is None else words)
    try:
        with lock(folder) as held:
            return train(folder, run, gpu, held, stopped)
    except (OSError, text_format.ParseError) as error:
        raise SystemExit(f'{folder} cannot be trained: {error}.') from None


def lock(folder):
    """The open lock file of a run, beside its folder; SystemExit where another process trains
    it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = open(folder.with_name(f'.{folder.name}.lock'), 'w')
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise SystemExit(f'{folder} is being trained by another process: wait for it.') from None
    return held


def train(folder, run, gpu, held, stopped):
    """Trains until run['iterations'] or a signal, returns the exit code; held: the lock, for Caffe
    too."""
    start = resume(folder, run)
    if start and start.iteration == run['iterations']:
        if run_folder.read_settings(folder).get('averaged_at') == start.iteration:
            print(f'Already trained: {start.caffemodel}.')
            return 0
        return finish(folder, run, gpu, stopped)
    run['begun'] = start.iteration if start else 0
    texts = prototxts(folder, run)
    command = [
        'caffe', 'train', '-solver',
        str(folder / 'solver.prototxt'), '-sigint_effect', 'stop'
    ]
    if start:
        command += ['-snapshot', str(start.solverstate)]
    elif run['weights']:
        request.check_weights(run['weights'], texts['net.prototxt'])
        command += ['-weights', ','.join(run['weights'])]
    if gpu is not None:
        command += ['-gpu', str(gpu)]
    metrics = prepare(folder, run, texts)
    with open(folder / 'log.txt', 'ab') as log:
        offset = log.tell()
        # A session of its own: Ctrl-C reaches Caffe once, by us. It does not outlive us either.
        process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *command],
                                   env=caffe_process.environment(), stdout=log, stderr=log,
                                   start_new_session=True, pass_fds=[held.fileno()])
    print(f'{folder}: iteration {run["begun"]} to {run["iterations"]}.', flush=True)
    try:
        watch(folder, run, process, offset, metrics, stopped)
    finally:
        process.kill()
        process.wait()
    prune(folder, math.inf)
    code = tell(folder, run, process.returncode, offset, stopped)
    return code or finish(folder, run, gpu, stopped)


def finish(folder, run, gpu, stopped):
    """Takes batch norm's averages for the last weights, returns the exit code."""
    log = folder / 'log.txt'
    with open(log, 'ab') as output:
        offset = output.tell()
        process = subprocess.Popen([
            'setpriv', '--pdeathsig', 'KILL', sys.executable, '-m', 'tools.core.batchnorm_averages',
            str(folder), *([] if gpu is None else [str(gpu)])
        ], env=caffe_process.environment(level=2), stdout=output, stderr=output,
                                   start_new_session=True)
    print("Taking batch norm's averages for the last weights.", flush=True)
    try:
        while process.poll() is None and not stopped:
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    if stopped and process.returncode:
        print('Stopped at the very end: the same command goes on from there.', file=sys.stderr)
        return 130
    if process.returncode:
        why = reason(log, offset) or f'exit code {process.returncode}'
        raise SystemExit(f"Batch norm's averages could not be taken ({why.rstrip('.')}): "
                         f'give the same command again; {log}.')
    averaged = {**run_folder.read_settings(folder), 'averaged_at': run['iterations']}
    files.write(folder / 'run.json', json.dumps(averaged, indent=2) + '\n')
    print(f'Trained: {snapshots.find_snapshots(folder)[-1].caffemodel}.')
    return 0


def prototxts(folder, run):
    """{name: text} of the three prototxt files of a run that begins at iteration run['begun']."""
    solver = {
        name: value
        for name, value in run['settings'].items()
        if name in request.SOLVER_SETTINGS
    }
    network = {
        name: value
        for name, value in run['settings'].items()
        if name not in (*solver, 'balance')
    }
    if run['settings'].get('balance', 0) != 0:
        network['score_offsets'] = class_balance.offsets(run)
    if network.get('pixel_scale') == 'relative':
        network['pixel_scale'] = round(COPIED / run['change'], 4) if run['change'] else 1.0
    if 'neutral' in run['classes']:
        network['neutral'] = run['classes'].index('neutral')
    root = fold_data.fold_path(run['dataset'], run['fold'])
    classes = len(run['classes'])
    seed = run['seed'] + run['begun']  # or a run that resumes would draw the same transforms again
    # Ten tests; fewer in a short run, which they would make a third longer.
    interval = max(1, run['iterations'] // min(10, max(1, run['iterations'] // 100)))
    # About 200 rows in metrics.csv, of which every test is one.
    display = max(d for d in range(1,
                                   min(100, max(1, run['iterations'] // 200)) + 1)
                  if interval % d == 0)
    try:
        texts = {
            'net.prototxt': net.train_val(
                run['variant'],
                classes,
                root / 'train_lmdb',
                root / 'test_lmdb',
                # every image once
                batch_size=run['batch'],
                test_batch_size=1,
                seed=seed,
                **network),
            'deploy.prototxt': net.deploy(run['variant'], classes, **network),
            'solver.prototxt': net.solver(
                folder / 'net.prototxt', folder / 'snapshots' / run['variant'],
                max_iter=run['iterations'], base_lr=run['base_lr'],
                test_iter=run['n_test'], test_interval=interval, display=display, snapshot=max(
                    50, run['iterations'] // 10), seed=seed, mode=run['device'], **solver)
        }
        text_format.Parse(texts['solver.prototxt'], caffe_pb2.SolverParameter())
    except (TypeError, ValueError, text_format.ParseError) as error:
        raise SystemExit(f'These settings make no network: {run["settings"]} ({error}).') from None
    return texts


def resume(folder, run):
    """The snapshot to go on from, None to start; SystemExit where the run was trained with other
    settings."""
    start = snapshots.last_snapshot(folder)
    if start is None:
        return None
    earlier = run_folder.read_settings(folder)
    names = [name for name in ('base_lr', 'batch', 'weights', 'settings')
             if earlier.get(name) != run[name]]
    changed = [f'{name} was {earlier.get(name)}, now {run[name]}'
               for name in names + fold_data.differences(earlier, run)]
    texts = prototxts(folder, {**run, 'begun': earlier.get('begun', 0)})
    then = {
        name: (folder / name).read_text(encoding='utf-8')
        for name in ('net.prototxt', 'solver.prototxt')
    }
    if not changed and (then['net.prototxt'] != texts['net.prototxt']
                        or course(then['solver.prototxt']) != course(texts['solver.prototxt'])):
        changed = ['prototxt/net.py now writes another network or solver']
    if not changed and start.iteration > run['iterations']:
        changed = [f'for {start.iteration} iterations, more than ITERS={run["iterations"]}']
    if changed:
        raise SystemExit(f'{folder} was trained otherwise ({"; ".join(changed)}): '
                         'use another SEED, or remove that folder.')
    return start


def course(text):
    """A solver's parameters without those of LENGTH, with the length where the rate follows it."""
    solver = text_format.Parse(text, caffe_pb2.SolverParameter())
    for name in LENGTH:
        if name != 'max_iter' or solver.lr_policy != 'poly':
            solver.ClearField(name)
    return solver


def prepare(folder, run, texts):
    """Writes the run's files, removes what is later than its beginning; returns the rows of
    metrics.csv."""
    (folder / 'snapshots').mkdir(parents=True, exist_ok=True)
    remove_after(folder, run['begun'])
    if run['begun'] == 0:
        for name in ('log.txt', 'result.json'):  # of a run whose snapshots were removed
            (folder / name).unlink(missing_ok=True)
    # Caffe shows the iteration that it goes on from once more.
    metrics = [row for row in read_metrics(folder) if row['iteration'] < run['begun']]
    metrics += missed(folder, metrics, run['begun'])
    write_metrics(folder, metrics)
    for name, text in texts.items():
        files.write(folder / name, text)
    files.write(folder / 'run.json', json.dumps({**run, 'averaged_at': None}, indent=2) + '\n')
    return metrics


def remove_after(folder, iteration):
    """Removes snapshots later than an iteration."""
    for number, *pair in snapshots.find_snapshots(folder):
        if number > iteration:
            for file in pair:
                file.unlink(missing_ok=True)


def prune(folder, iteration):
    """Removes all but the last snapshots up to an iteration."""
    complete = [snapshot for snapshot in snapshots.find_snapshots(folder)
                if snapshot.iteration <= iteration]
    for _, *pair in complete[:-KEPT]:
        for file in pair:
            file.unlink(missing_ok=True)


def read_metrics(folder):
    """The rows of metrics.csv, none if it is missing; SystemExit where it was damaged."""
    path = folder / 'metrics.csv'
    try:
        with open(path, newline='', encoding='utf-8') as file:
            return [{**row, 'iteration': int(row['iteration']), 'seconds': float(row['seconds'])}
                    for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError, csv.Error):
        raise SystemExit(f'{path} is damaged: move it away to go on without it.') from None


def missed(folder, metrics, end):
    """The rows before iteration `end` that Caffe's log has and metrics, which ends earlier, has
    not: shown just before a kill."""
    last, seconds = (metrics[-1]['iteration'], metrics[-1]['seconds']) if metrics else (-1, 0.0)
    try:
        with open(folder / 'log.txt', encoding='utf-8', errors='replace') as log:
            # of an iteration done twice, the later
            logged = {row['iteration']: row for row in caffe_log.rows(log)}
    except FileNotFoundError:
        return []
    return [{'iteration': iteration, 'seconds': seconds, **logged[iteration]}
            for iteration in sorted(logged) if last < iteration < end]


def write_metrics(folder, metrics):
    """Writes metrics.csv: iteration, seconds (of training, starts included), lr, loss, each output
    so far."""
    columns = dict.fromkeys(['iteration', 'seconds', 'lr', 'loss'])
    for row in metrics:
        columns.update(dict.fromkeys(row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator='\n')
    table.writeheader()
    table.writerows(metrics)
    files.write(folder / 'metrics.csv', text.getvalue())


def watch(folder, run, process, offset, metrics, stopped):
    """Follows Caffe's log to its end: progress, metrics.csv, snapshots; SystemExit if the loss is
    nan."""
    before = metrics[-1]['seconds'] if metrics else 0
    clock = time.monotonic()
    sound = run['begun']  # the last iteration with a finite loss
    with progress(run['begun'], run['iterations']) as show:
        for row in caffe_log.rows(follow(folder / 'log.txt', offset, process, stopped)):
            if not math.isfinite(row.get('loss', 0)):
                process.kill()
                process.wait()
                remove_after(folder, sound)
                advise(folder, run, row)
            if 'loss' in row:
                sound = row['iteration']
                show(row)
            seconds = round(before + time.monotonic() - clock, 1)
            metrics.append({'iteration': row['iteration'], 'seconds': seconds, **row})
            write_metrics(folder, metrics)
            prune(folder, sound)


def advise(folder, run, row):
    """SystemExit for an iteration whose loss is nan or inf."""
    bad = ', '.join(f'{name} = {value}' for name, value in row.items() if not math.isfinite(value))
    kept = snapshots.find_snapshots(folder)
    again = 'start again'
    if kept:
        again = f'up to {kept[-1].iteration} it is kept; use another SEED, or remove that folder,'
    raise SystemExit(f'{folder} diverged at iteration {row["iteration"]} ({bad}): {again} '
                     f'with an LR smaller than {run["base_lr"]}.')


def follow(path, offset, process, stopped):
    """Yields the lines that Caffe adds to its log, until it ends; passes the first signal on to it,
    once."""
    rest, passed = '', False
    with open(path, encoding='utf-8', errors='replace') as file:
        file.seek(offset)
        while True:
            ended = process.poll() is not None
            if stopped and not passed:
                process.send_signal(signal.SIGINT)
                passed = True
                tqdm.write('Stopping: Caffe ends its iteration and writes a snapshot.',
                           file=sys.stderr)
            *lines, rest = (rest + file.read()).split('\n')
            yield from lines
            if ended:
                return
            time.sleep(0.1)


@contextlib.contextmanager
def progress(begun, total):
    """Yields a function that shows a row of caffe_log: a bar on a terminal, else a line now and
    then."""
    terminal = sys.stderr.isatty()
    with open(os.devnull,
              'w') as nowhere, tqdm(total=total, initial=begun, unit='iteration', ascii=True,
                                    file=sys.stderr if terminal else nowhere) as bar:
        said, lr = -math.inf, math.nan

        def show(row):
            nonlocal said, lr
            lr = row.get('lr', lr)  # the very last row comes without
            bar.set_postfix(loss=f'{row["loss"]:.4g}', lr=f'{lr:.4g}', refresh=False)
            bar.update(row['iteration'] - bar.n)
            if not terminal and (time.monotonic() - said > QUIET or row['iteration'] == total):
                said = time.monotonic()
                print(bar, file=sys.stderr)

        yield show


def tell(folder, run, code, offset, stopped):
    """Says how training ended; returns the exit code, or SystemExit for a failure."""
    last = snapshots.last_snapshot(folder)
    if code == 0 and last and last.iteration == run['iterations']:
        return 0
    if stopped and code in (0, -signal.SIGINT):
        where = f'after iteration {last.iteration}, {last.caffemodel}' if last else 'before any snapshot'
        print(f'Stopped {where}: the same command goes on from there.', file=sys.stderr)
        return 130
    log = folder / 'log.txt'
    if code < 0 and -code != signal.SIGABRT:
        raise SystemExit(
            f'Caffe was ended by signal {-code} (memory full?): start again to go on; {log}.')
    why = reason(log, offset)
    # `caffe` does not print what a Python layer raised at its set-up, pycaffe does
    if why is None and code:
        caffe_process.blob_shapes((folder / 'net.prototxt').read_text(encoding='utf-8'))
    why = why or ('no whole snapshot at the end' if code == 0 else f'exit code {code}')
    raise SystemExit(f'Caffe stopped: {why.rstrip(".")}; see {log}.')


def reason(log, offset):
    """Why a process that wrote the log from `offset` on stopped, None where it does not say."""
    with open(log, encoding='utf-8', errors='replace') as file:
        file.seek(offset)
        return caffe_log.reason(file)


if __name__ == '__main__':
    sys.exit(main())
