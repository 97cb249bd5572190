"""The networks: seconds by part, variant and layer type; memory; pairs augmented a second.

One BLAS thread. Forward and backward by `caffe time`, layer by layer; the update by the solver
alone; `caffe train` itself as a check on their sum. What is compared takes turns.
"""
import collections
import re
import statistics
import tempfile
import time
from pathlib import Path

import caffe
import threadpoolctl
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from tqdm import tqdm

from prototxt import net
from tools.core import caffe_log, caffe_process, child

FOLD = Path('data/demo/fold0')
TRAINED = ('cnn', 's1r1')  # by `caffe train`, for its memory
DETAIL = 's1r1'
WAYS = ('forward', 'backward')
DATA = ('Data', 'Python Augment')
TIME = re.compile(r'^I.*\]\s+(\S+)\s+(forward|backward): (\S+) ms\.')
STEP = re.compile(r'^I.*\] Iteration (\d+) \(\S+ iter/s, (\S+)s/1 iters\)')


def measure(batch=64, iterations=2, rounds=5, passes=20):
    """[(name, value, unit)] on fold 0 of the demo set, SystemExit where it is yet to be built.

    iterations: in a call of Caffe; passes: of the update and of augmentation, which are short.
    """
    found = collections.defaultdict(list)  # what was measured: a value a round
    with tempfile.TemporaryDirectory() as folder:
        solvers = {variant: write(Path(folder, variant), variant, batch, iterations)
                   for variant in net.VARIANTS}
        jobs = [(timed, variant, iterations) for variant in net.VARIANTS]
        jobs += [(updated, variant, passes) for variant in net.VARIANTS]
        jobs += [(trained, variant, iterations) for variant in TRAINED]
        jobs += [(augmented, DETAIL, passes)]
        for job, variant, times in tqdm(jobs * rounds, desc='network', ascii=True):
            for (what, part), value in job(solvers[variant], times).items():
                found[variant, what, part].append(value)
    return lines(batch, {key: statistics.median(values) for key, values in found.items()})


def lines(batch, found):
    """The lines of measure() from {(variant, what was measured, part): seconds, or MB}."""
    table = []
    for variant in net.VARIANTS:
        of_type = {way: part(found, variant, way) for way in WAYS}
        parts = {way: sum(of_type[way].values()) for way in WAYS}
        # What `caffe time` leaves out, and an iteration of training has.
        parts['update'] = found[variant, 'solver', 'update']
        iteration = sum(parts.values())
        data = sum(of_type[way][kind] for way in WAYS for kind in DATA)

        table.append((f'{variant}, batch {batch}: an iteration', iteration, 's'))
        table += [(f'{variant}: {name}', seconds, 's') for name, seconds in parts.items()]
        table += [(f'{variant}: Data and Augment (in forward)', data, 's'),
                  (f'{variant}: share of Data and Augment in an iteration', 100 * data / iteration,
                   '%')]
        if variant in TRAINED:
            whole = part(found, variant, 'train')
            table += [
                (f'{variant}: an iteration of caffe train', whole['seconds'], 's'),
                (f'{variant}: peak memory of caffe train, with a test', whole['memory'], 'MB')]

    of_type = {way: part(found, DETAIL, way) for way in WAYS}
    both = {kind: sum(of_type[way][kind] for way in WAYS) for kind in of_type['forward']}
    table += [(f'{DETAIL}, {kind} layers: {way}', of_type[way][kind], 's')
              for kind in sorted(both, key=both.get, reverse=True) for way in WAYS]
    ours = sum(seconds for kind, seconds in both.items() if kind.startswith('Python'))

    return table + [
        (f'{DETAIL}: share of our Python layers in both', 100 * ours / sum(both.values()), '%'),
        ('pairs augmented a second, one core', batch / found[DETAIL, 'augment', 'forward alone'],
         '/s')
    ]


def part(found, variant, name):
    """{what was measured: value} of a variant's part of that name."""
    return {what: value for (owner, what, its_part), value in found.items()
            if (owner, its_part) == (variant, name)}


def write(folder, variant, batch, iterations):
    """Writes a net and a solver like those of `make train`, for a short run that ends with a test.

    Returns the solver's path; SystemExit where the data are yet to be built.
    """
    try:
        classes = len((FOLD.parent / 'classes.txt').read_text().splitlines())
        if not (FOLD / 'train_lmdb').is_dir():
            raise FileNotFoundError
    except FileNotFoundError:
        raise SystemExit(f'{FOLD} is not built: run `make data` first.') from None
    folder.mkdir()
    network, solver = folder / 'net.prototxt', folder / 'solver.prototxt'
    network.write_text(net.train_val(variant, classes, FOLD / 'train_lmdb', FOLD / 'test_lmdb',
                                     batch_size=batch, test_batch_size=1))
    last = iterations + 1  # the time of the first is not told
    solver.write_text(net.solver(network, folder / variant, max_iter=last, display=1, test_iter=1,
                                 test_interval=last, snapshot=last, mode='CPU'))
    return solver


def without_dropout(solver):
    """Takes dropout out of a solver's net.prototxt: what it drops is random, another on each
    engine."""
    path = solver.with_name('net.prototxt')
    path.write_text(path.read_text().replace('dropout_ratio: 0.5', 'dropout_ratio: 1e-09'))
    return path


def place(gpu):
    """Where caffe is to run, as words of its command line. gpu: its ID, None for the CPU."""
    return [] if gpu is None else ['-gpu', gpu]


def timed(solver, iterations, gpu=None):
    """{(layer type, 'forward' or 'backward'): seconds an iteration} by `caffe time`. gpu: its ID,
    None for the CPU."""
    network = solver.with_name('net.prototxt')
    log, _ = finish(start(['caffe', 'time', '-model', network, '-phase', 'TRAIN',
                           '-iterations', iterations, *place(gpu)]))
    return by_type(log, types(text_format.Parse(network.read_text(), caffe_pb2.NetParameter())))


def types(network):
    """{layer: its type, with the class of a Python layer} of a NetParameter."""
    return {layer.name: f'{layer.type} {layer.python_param.layer}'.strip()
            for layer in network.layer}


def by_type(log, types):
    """{(layer type, 'forward' or 'backward'): seconds} from the lines of a log of `caffe time`.

    types: {layer: type}.
    """
    seconds = collections.Counter()
    for layer, way, milliseconds in (match.groups() for match in map(TIME.match, log) if match):
        kind = types.get(layer, 'Split')  # which Caffe puts where several layers take a blob
        seconds[kind, way] += float(milliseconds) / 1000
    return seconds


def updated(solver, passes):
    """Seconds of the solver's own part: gradients to zero, decay, momentum, new weights."""
    with threadpoolctl.threadpool_limits(1):
        engine = caffe.get_solver(str(solver))
        seconds = clock(lambda: (engine.net.clear_param_diffs(), engine.apply_update()), passes)
    return {('solver', 'update'): seconds}


def augmented(solver, passes):
    """Seconds of the Augment layer for a batch, alone, on pairs from the LMDB."""
    network = text_format.Parse(
        solver.with_name('net.prototxt').read_text(), caffe_pb2.NetParameter())
    pairs, augment = front(network, solver.with_name('front.prototxt'))
    pairs.forward()
    return {('augment', 'forward alone'): clock(lambda: pairs.forward(start=augment), passes)}


def front(network, path):
    """The Data and Augment layers of a NetParameter as a caffe.Net, and the name of the latter.

    path: of its prototxt, which is written.
    """
    kinds = types(network)
    kept = [layer for layer in network.layer if kinds[layer.name] in DATA]
    path.write_text(str(caffe_pb2.NetParameter(layer=kept)))
    return caffe.Net(str(path), caffe.TRAIN), kept[-1].name


def clock(call, passes):
    """Seconds of a call, the median of several after one that does not count."""
    call()  # the first fills caches and makes buffers
    times = []
    for _ in range(passes):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def trained(solver, iterations):
    """{(what, 'train'): value} of `caffe train`: seconds an iteration, MB of memory at most."""
    seconds, memory = train(solver)
    return {('seconds', 'train'): seconds, ('memory', 'train'): memory}


def train(solver, gpu=None):
    """(median seconds of an iteration but the first, MB of memory at most) of `caffe train` with
    a solver that shows each iteration. gpu: its ID, None for the CPU."""
    log, memory = finish(start(['caffe', 'train', '-solver', solver, *place(gpu)]))
    return statistics.median(steps(log)), memory


def steps(log):
    """The seconds of each iteration but the first in a log of `caffe train` with display 1."""
    return [float(match[2]) for match in map(STEP.match, log) if match and int(match[1])]


def start(command, threads=1):
    """A process with so many threads, and the file of what it prints."""
    printed = tempfile.TemporaryFile('w+', errors='replace')
    environment = dict(caffe_process.environment(), OPENBLAS_NUM_THREADS=str(threads),
                       OMP_NUM_THREADS=str(threads))
    process = child.start_child(command, env=environment, stdout=printed, stderr=printed)
    return process, printed


def finish(started):
    """(lines that a process printed, MB of its memory at most); SystemExit where it failed."""
    process, printed = started
    memory = 0
    # Looked at while it runs: when it has ended, nothing tells its own maximum (see high_water).
    try:
        while process.poll() is None:
            memory = max(memory, high_water(process.pid))
            time.sleep(0.02)
    finally:
        process.kill()  # where we are interrupted
    with printed:
        printed.seek(0)
        log = printed.read().splitlines()
    if process.returncode:
        why = caffe_log.reason(log) or (log or ['it said nothing'])[-1]
        raise SystemExit(f'`{" ".join(process.args[3:])}` stopped: {why.rstrip(".")}.')
    return log, memory


def high_water(process):
    """MB of memory that a process, by its number, has had at most since it became its program; 0
    when it has ended. (The maximum that wait4 tells is at least that of the parent at the fork.)"""
    try:
        found = re.search(r'^VmHWM:\s*(\d+) kB',
                          Path('/proc', str(process), 'status').read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) / 1024 if found else 0
