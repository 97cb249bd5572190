"""Trains and tests every fold of every variant, and gathers all predictions in one CSV.

    python3 -m tools.cv --dataset demo --variants "cnn s1r1" --iters 360 --batch 32

Each run is made by tools.train and tools.evaluate, in its usual folder. What they say goes to a
file beside it, runs/<dataset>/<variant>/fold<F>_seed<S>.txt, predictions to
runs/<dataset>/results.csv as runs finish. A run that fails stops no other. Ctrl-C makes those under
way write a snapshot each and stop. The same command again does what is missing. Further options are
those of tools.train. With --list it only prints the commands of all runs, one run a line, for a
cluster (see cv.sbatch).
"""
import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import os
import queue
import shlex
import subprocess
import sys
import time

from tqdm import tqdm

from data_prep import workers
from prototxt import net
from tools.core import (
    arguments,
    caffe_process,
    child,
    fold_data,
    gpu,
    metrics,
    predictions,
    request,
    run_folder,
    run_prototxt,
    snapshots,
)

POLL = 0.5  # seconds between two looks at a run
QUIET = 60  # seconds between two lines of progress where there is no terminal
# Of run.json: a run is the one asked for whatever these say.
ANY = ('command', 'versions', 'code', 'device', 'weights_sha256')
# Which runs, and where: what programs that call this one take and hand on.
WHICH = ('folds', 'seeds', 'jobs', 'gpus')
# Of tools.train: this program gives them.
OWN = ('--dataset', '--variant', '--fold', '--seed', '--gpu')

# run: of request.read_request; name and training: words of a command line.
Job = collections.namedtuple('Job', 'folder run name training')


def main(words=None):
    stopped = child.catch_signals()
    options, training = parse(words)
    jobs = plan(options.dataset, options.variants, options.seeds, options.folds, training)
    gpus = itertools.cycle(options.gpus or [''])

    if options.list:
        for job, gpu in zip(jobs, gpus):
            print(' && '.join(shlex.join(['docker/enter', 'env', 'GLOG_minloglevel=2', *command])
                              for command in commands(job, gpu)))
        return 0

    # The cores that runs at once leave to each other, for the layers that use several.
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, workers.usable() // options.jobs)))
    missing = [job for job in jobs if not is_complete(job)]
    print(f'{len(jobs)} runs, {len(jobs) - len(missing)} of them complete before.', flush=True)
    if missing:
        tell_older([job for job in jobs if job not in missing])
    places = list(itertools.islice(gpus, options.jobs))
    failed = work(options.dataset, missing, places, stopped) if missing else []
    for sentence in predictions.collect(options.dataset) + failed:
        print(sentence, file=sys.stderr)

    if stopped:
        print('Stopped: the same command goes on from there.', file=sys.stderr)
        return 130
    if failed:
        raise SystemExit(
            f'{len(failed)} of {len(jobs)} runs failed: the same command tries them again.')
    print(f'All {len(jobs)} runs are complete: runs/{options.dataset}/results.csv.')
    return 0


def add_which(parser):
    """Adds the options of WHICH to an argparse parser of such a program; for words_of."""
    for name in WHICH:
        parser.add_argument(f'--{name}', default='', help='as in tools.cv')


def words_of(options):
    """The words of a command line of this program for the options of WHICH that were given."""
    return [word for name in WHICH if getattr(options, name)
            for word in (f'--{name}', getattr(options, name))]


def parse(words):
    """(options, arguments for tools.train) of a command line."""
    parser = argparse.ArgumentParser(
        prog='python3 -m tools.cv', allow_abbrev=False, description=__doc__.split('\n')[0],
        epilog='Further options are those of tools.train, as --iters and --set.')
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--variants', default='cnn s1r1',
                        help=f'of {" ".join(net.VARIANTS + net.PRETRAINING)} (%(default)s)')
    parser.add_argument('--folds', default='',
                        help='"0 1 2" or 0-4, for instance (default: all of the set)')
    parser.add_argument('--seeds', default='1', help='"1 2 3", for instance (default: 1)')
    parser.add_argument('--jobs', default='',
                        help='runs at once (default: one a core, or one a GPU)')
    parser.add_argument('--gpus', default='',
                        help='IDs of the GPUs, as "0 1" (default: 0 where Caffe can use it)')
    parser.add_argument('--list', action='store_true',
                        help='print the commands of all runs instead')
    options, training = parser.parse_known_args(words)

    options.variants = options.variants.split()
    known = net.VARIANTS + net.PRETRAINING
    if not options.variants or not set(options.variants) <= set(known):
        raise SystemExit(
            f'VARIANTS must be of {" ".join(known)}, not {" ".join(options.variants)!r}.')
    options.folds = arguments.fold_list(options.dataset, options.folds)
    options.seeds = [arguments.whole_number('SEEDS', seed, 0, 2 ** 31 - 1)
                     for seed in options.seeds.split() or ['']]

    # Before anything is started: a GPU that cannot be used would fail in every run.
    options.gpus = [arguments.whole_number('GPUS', gpu, 0, 1023) for gpu in options.gpus.split()]
    if not options.list:  # a list is for another machine
        options.gpus = [gpu.which(str(number)) for number in options.gpus] or [gpu.which('')]
    default = workers.usable() if options.gpus in ([], [None]) else len(options.gpus)
    options.jobs = arguments.whole_number('JOBS', options.jobs or default, 1, 1024)
    return options, training


def plan(dataset, variants, seeds, folds, training):
    """The Jobs, each once, checked as tools.train does; SystemExit for what cannot be trained."""
    given = [word.partition('=')[0] for word in training if word.startswith('--')]
    # argparse takes a name that is cut short, such as --gp.
    if any(own.startswith(word) for own in OWN for word in given):
        raise SystemExit('Give VARIANTS, FOLDS, SEEDS and GPUS, not VARIANT, FOLD, SEED and GPU.')
    run_of = {}  # the data of a fold are read once for all variants
    for seed, fold in itertools.product(seeds, folds):
        _, run_of[seed, fold], _ = request.read_request(
            [*name_of(dataset, variants[0], fold, seed), *training, '--gpu', 'none'])

    jobs = {}
    for variant, seed, fold in itertools.product(variants, seeds, folds):
        folder = run_folder.folder_of(dataset, variant, fold, seed)
        run = {**run_of[seed, fold], 'variant': variant}
        jobs[folder] = Job(folder, run, name_of(dataset, variant, fold, seed), training)
    return list(jobs.values())


def name_of(dataset, variant, fold, seed):
    """The arguments that name a run."""
    return ['--dataset', dataset, '--variant', variant, '--fold', str(fold), '--seed', str(seed)]


def commands(job, gpu):
    """The command lines that make a run: its training and its test. gpu: its ID, None for the CPU,
    '' for 0 where there is one."""
    where = [] if gpu == '' else ['--gpu', 'none' if gpu is None else str(gpu)]
    return [['python3', '-m', 'tools.train', *job.name, *job.training, *where],
            ['python3', '-m', 'tools.evaluate', *job.name]]


def is_complete(job):
    """Whether the run was trained and, unless it is pre-training, tested as asked."""
    earlier = predictions.complete(job.folder)
    if job.run['variant'] in net.PRETRAINING:  # which nobody tests
        last = snapshots.last_snapshot(job.folder)
        with contextlib.suppress(SystemExit):  # tools.train will say it
            settings = run_folder.read_settings(job.folder)
            if last and last.iteration == job.run['iterations'] == settings.get('averaged_at'):
                earlier = settings
    if earlier is None or fold_data.differences(earlier, job.run):
        return False
    if request.other_start(earlier, job.run):
        return False
    return all(earlier.get(name) == value for name, value in job.run.items()
               if name not in (*ANY, *fold_data.IDENTITY, *fold_data.FOLLOWING))


def tell_older(jobs):
    """Says on stderr which of the complete runs have another network or solver than those that are
    to be trained beside them: a checkout may have changed between the two."""
    older = []
    for job in jobs:
        # One without its prototxt files tells nothing.
        with contextlib.suppress(SystemExit, OSError):
            begun = run_folder.read_settings(job.folder).get('begun', 0)
            if run_prototxt.written_otherwise(job.folder, job.run, [begun]):
                older.append(job.folder)
    if older:
        print(f'{len(older)} of them have another network or solver than prototxt/net.py writes '
              f'now, {older[0]} for one, and would be averaged with those to come: remove them to '
              'train all alike.', file=sys.stderr)


def work(dataset, jobs, gpus, stopped):
    """Makes runs, as many at once as there are `gpus` (None: CPU).

    Returns a sentence for each failure.
    """
    failed, ended, said = [], 0, time.monotonic()
    reached = {job.folder: iteration(job) for job in jobs}
    places = queue.SimpleQueue()  # lines of the screen, each with what trains there
    for place in enumerate(gpus, 1):
        places.put(place)

    with open(os.devnull, 'w') as nowhere, \
            concurrent.futures.ThreadPoolExecutor(len(gpus)) as pool, \
            tqdm(total=sum(job.run['iterations'] for job in jobs), initial=sum(reached.values()),
                 unit='iteration', ascii=True,
                 file=sys.stderr if sys.stderr.isatty() else nowhere) as bar:
        try:
            left = {pool.submit(make, job, places, reached, stopped) for job in jobs}
            while left:
                done, left = concurrent.futures.wait(left, POLL, concurrent.futures.FIRST_COMPLETED)
                failed += [future.result() for future in done if future.result()]
                if done:  # results.csv grows as runs finish, whatever ends this program
                    ended += len(done)
                    predictions.collect(dataset)
                bar.n = sum(reached.values())
                bar.set_description(f'{ended} of {len(jobs)} runs')
                if not sys.stderr.isatty() and time.monotonic() - said > QUIET:
                    said = time.monotonic()
                    say(str(bar))
        except BaseException:
            stopped.append(None)  # or the pool would make all other runs first
            raise
    return failed


def make(job, places, reached, stopped):
    """Trains and tests a run in a place that is free; returns None, or a sentence why it failed."""
    if stopped:
        return None
    line, gpu = places.get()
    path = job.folder.with_name(f'{job.folder.name}.txt')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'w', encoding='utf-8') as output, \
                tqdm(total=job.run['iterations'], initial=reached[job.folder], desc=str(job.folder),
                     position=line, leave=False, unit='iteration', ascii=True,
                     disable=not sys.stderr.isatty()) as bar:

            def show():
                reached[job.folder] = iteration(job)
                bar.update(reached[job.folder] - bar.n)

            if bar.disable:
                say(f'{job.folder} begins; what it says goes to {path}.')
            for command in commands(job, gpu):
                code = follow(command, output, show, stopped)
                if code:
                    break

        # What it said last is its result, or why it failed.
        lines = path.read_text(encoding='utf-8', errors='replace').split('\n')
        last = next((line.strip() for line in reversed(lines) if line.strip()),
                    f'exit code {code}.')
        last = f'ended by signal {-code}, see {path}.' if code < 0 else last
    except OSError as error:
        code, last = 1, f'{error}.'
    finally:
        places.put((line, gpu))

    if code and not stopped:  # why, is said once, at the end
        say(f'{job.folder} failed, see {path}.')
        return f'{job.folder} failed: {last}'
    say(f'{job.folder} {"stopped" if code else "is complete"}: {last}')
    return None


def follow(command, output, show, stopped):
    """Runs a command to its end, `show` now and then; returns its exit code.

    Passes a signal on, once.
    """
    # Unbuffered, so that an error is the last line, below what was printed before it.
    environment = {**caffe_process.environment(level=2), 'PYTHONUNBUFFERED': '1'}
    process = child.start_child(command, env=environment, stdout=output, stderr=output)
    passed = False
    try:
        while process.poll() is None:
            show()
            if stopped and not passed:
                process.terminate()
                passed = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        show()
    finally:
        process.kill()
    return process.wait()


def iteration(job):
    """The last iteration of a run's metrics.csv, as far as it was asked for; 0 without one."""
    try:
        rows = metrics.read_metrics(job.folder / 'metrics.csv')
    except SystemExit:  # not begun, or damaged: tools.train will say it
        return 0
    return min(max((row['iteration'] for row in rows), default=0), job.run['iterations'])


def say(sentence):
    """Prints a line on stderr, above the bars."""
    tqdm.write(sentence, file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
