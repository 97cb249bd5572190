"""The networks: seconds an iteration, by part, variant and layer type; memory of training; augmented pairs a second.

One BLAS thread. Forward and backward by `caffe time`, layer by layer; the update by the solver alone, on the same
weights; `caffe train` itself as a check on their sum. What is compared takes turns.
"""
import collections
import contextlib
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import caffe
import threadpoolctl
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from tqdm import tqdm

from prototxt import net
from tools import caffe_log, request

FOLD = Path('data/demo/fold0')
TRAINED = ('cnn', 's1r1')  # by `caffe train`, for its memory
DETAIL = 's1r1'
DATA = ('Data', 'Augment')
TIME = re.compile(r'^I.*\]\s+(\S+)\s+(forward|backward): (\S+) ms\.')
STEP = re.compile(r'^I.*\] Iteration (\d+) \(\S+ iter/s, (\S+)s/1 iters\)')


def measure(batch=64, iterations=3, rounds=5, passes=20):
    """[(name, value, unit)] on fold 0 of the demo set, SystemExit where it is yet to be built.

    iterations: in a call of Caffe; passes: of the update and of augmentation, which are short.
    """
    found = collections.defaultdict(list)  # what was measured: a value a round
    with tempfile.TemporaryDirectory() as folder:
        solvers = {variant: write(Path(folder, variant), variant, batch, iterations) for variant in net.VARIANTS}
        jobs = [job for variant in net.VARIANTS
                for job in ((timed, variant), (updated, variant)) + ((trained, variant),) * (variant in TRAINED)]
        jobs.append((augmented, DETAIL))
        for job, variant in tqdm(jobs * rounds, desc='network', ascii=True):
            count = passes if job in (updated, augmented) else iterations
            for name, value in job(solvers[variant], count).items():
                found[variant, name].append(value)
    return lines(batch, {key: statistics.median(values) for key, values in found.items()})


def lines(batch, found):
    """The lines of measure() from {(variant, what): seconds, or MB of memory}."""
    table = []
    for variant in net.VARIANTS:
        parts = {'forward': sum(total(found, variant, 'forward').values()),
                 'backward': sum(total(found, variant, 'backward').values()), 'update': found[variant, 'update']}
        iteration = sum(parts.values())
        data = sum(sum(total(found, variant, way).get(kind, 0) for way in ('forward', 'backward')) for kind in DATA)
        table += [(f'{variant}, batch {batch}: an iteration', iteration, 's')]
        table += [(f'{variant}: {name}', seconds, 's') for name, seconds in parts.items()]
        table += [(f'{variant}: Data and Augment (in forward)', data, 's'),
                  (f'{variant}: share of Data and Augment in an iteration', 100 * data / iteration, '%')]
        if variant in TRAINED:
            table += [(f'{variant}: an iteration of caffe train', found[variant, 'trained'], 's'),
                      (f'{variant}: peak memory of caffe train, with a test', found[variant, 'memory'], 'MB')]
    forward, backward = (total(found, DETAIL, way) for way in ('forward', 'backward'))
    both = {kind: forward[kind] + backward[kind] for kind in forward}
    for kind in sorted(both, key=both.get, reverse=True):
        table += [(f'{DETAIL}, layers of type {kind}: {way}', seconds[kind], 's')
                  for way, seconds in (('forward', forward), ('backward', backward))]
    ours = sum(both.get(kind, 0) for kind in our_layers())
    return table + [
        (f'{DETAIL}: share of our Python layers in forward and backward', 100 * ours / sum(both.values()), '%'),
        ('pairs augmented a second, one core', batch / found[DETAIL, 'augment'], '/s')]


def total(found, variant, way):
    """{layer type: seconds} of a variant, forward or backward."""
    return {what[0]: seconds for (owner, what), seconds in found.items()
            if owner == variant and isinstance(what, tuple) and what[1] == way}


def our_layers():
    """The types of the Python layers in layers/."""
    return {path.stem.title().replace('_', '') for path in Path(__file__).parents[1].glob('layers/*.py')}


def write(folder, variant, batch, iterations):
    """Writes what `make train` would, for a short run that ends with a test of one batch; returns the solver's path."""
    try:
        classes = len((FOLD.parent / 'classes.txt').read_text().split())
        if not (FOLD / 'train_lmdb').is_dir():
            raise FileNotFoundError
    except FileNotFoundError:
        raise SystemExit(f'{FOLD} is not built: run `make data` first.') from None
    folder.mkdir()
    network, solver = folder / 'net.prototxt', folder / 'solver.prototxt'
    network.write_text(net.train_val(variant, classes, FOLD / 'train_lmdb', FOLD / 'test_lmdb', batch_size=batch))
    last = iterations + 1  # Caffe gives no time for the first
    solver.write_text(net.solver(network, folder / variant, max_iter=last, display=1, test_iter=1, test_interval=last,
                                 snapshot=last, mode='CPU'))
    return solver


def timed(solver, iterations):
    """{(layer type, 'forward' or 'backward'): seconds an iteration} by `caffe time`."""
    network = solver.with_name('net.prototxt')
    log, _ = finish(start(['caffe', 'time', '-model', network, '-phase', 'TRAIN', '-iterations', str(iterations)]))
    return by_type(log, types(network.read_text()))


def types(text):
    """{layer: its type, of a Python layer its class} of a network's prototxt."""
    return {layer.name: layer.python_param.layer or layer.type
            for layer in text_format.Parse(text, caffe_pb2.NetParameter()).layer}


def by_type(log, types):
    """{(layer type, 'forward' or 'backward'): seconds} from a log of `caffe time`, as an iterable of lines."""
    seconds = collections.Counter()
    for layer, way, milliseconds in filter(None, map(read, log)):
        seconds[types.get(layer, 'Split'), way] += milliseconds / 1000  # Caffe splits a blob that several layers take
    return seconds


def read(line):
    """(layer, 'forward' or 'backward', milliseconds) of a line of `caffe time`, None if it is another."""
    match = TIME.match(line)
    return match and (match[1], match[2], float(match[3]))


def updated(solver, passes):
    """{'update': seconds} of what a solver does beside the network: gradients to zero, momentum, decay, new weights."""
    with threadpoolctl.threadpool_limits(1):
        engine = caffe.get_solver(str(solver))
        return {'update': clock(lambda: (engine.net.clear_param_diffs(), engine.apply_update()), passes)}


def augmented(solver, passes):
    """{'augment': seconds a batch} of the Augment layer alone, on pairs from the LMDB."""
    network = text_format.Parse(solver.with_name('net.prototxt').read_text(), caffe_pb2.NetParameter())
    kinds = types(str(network))
    kept = [layer for layer in network.layer if kinds[layer.name] in DATA]
    (augment,) = [layer.name for layer in kept if kinds[layer.name] == 'Augment']
    del network.layer[:]
    network.layer.extend(kept)
    path = solver.with_name('augment.prototxt')
    path.write_text(str(network))
    data = caffe.Net(str(path), caffe.TRAIN)
    data.forward()
    return {'augment': clock(lambda: data.forward(start=augment), passes)}


def clock(call, passes):
    """Seconds of a call, the median of several after one that does not count."""
    call()
    times = []
    for _ in range(passes):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def trained(solver, iterations):
    """{'trained': seconds an iteration, 'memory': MB at most} of `caffe train`."""
    log, memory = finish(start(['caffe', 'train', '-solver', solver]))
    return {'trained': statistics.median(steps(log)), 'memory': memory}


def steps(log):
    """The seconds of each iteration but the first that a log of `caffe train` with display 1 tells."""
    return [float(match[2]) for match in map(STEP.match, log) if match and int(match[1])]


def start(command, threads=1):
    """A process with so many threads, and the file of what it prints."""
    printed = tempfile.TemporaryFile('w+', errors='replace')
    environment = dict(request.environment(), OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    command = ['setpriv', '--pdeathsig', 'KILL', *command]  # it does not outlive us
    return subprocess.Popen(command, env=environment, stdout=printed, stderr=printed), printed


def finish(started):
    """(lines that a process printed, MB of its memory at most); SystemExit where it failed."""
    process, printed = started
    with printed, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status  # waited for: nothing is left to kill
        printed.seek(0)
        log = printed.read().splitlines()
    if status:
        why = caffe_log.reason(log) or (log or ['it said nothing'])[-1]
        raise SystemExit(f'{" ".join(map(str, process.args[3:5]))} stopped: {why.rstrip(".")}.')
    return log, usage.ru_maxrss / 1024
