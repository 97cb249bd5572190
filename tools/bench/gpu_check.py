"""Whether Caffe computes on a GPU what it computes on the CPU, and how fast it is: one page.

    GCNET_CAFFE=cuda docker/enter python3 -m tools.bench.gpu_check

writes runs/gpu_check.md, part by part, so that what was found is there however it ends: the card;
the numerical gradients of our layers on it; a short training of each variant beside the same on the
CPU; the layers that take longest; and the same network in PyTorch (eager mode) on the card, where
PyTorch is there. It needs the demo set (`make data`). `--gpu none` tries the program itself where
there is no card.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import workers
from prototxt import net
from tools.bench import network_speed
from tools.core import arguments, caffe_log, caffe_process, files, gpu
from tools.core.markdown import Table, markdown

OUT = Path('runs/gpu_check.md')
LAYERS = ('tests/test_layers.py', 'tests/test_layer_forms.py', 'tests/test_compiled_layers.py')
ALIKE = 1e-3   # relative difference of losses: rounding decides where maxima lie
LONGEST = 12   # layer types that are listed
SAID = 20      # lines that are shown of a program that was ended
TIMED = 's1r1'


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.bench.gpu_check',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--gpu', default='', help='ID (default: 0), or none')
    parser.add_argument('--iters', default='200', help='on the card (default: %(default)s)')
    parser.add_argument('--compared', default='20', help='on the CPU too (default: %(default)s)')
    parser.add_argument('--batch', default='64', help='default: %(default)s')
    parser.add_argument('--variants', default=' '.join(net.VARIANTS), help='default: all')
    parser.add_argument('--out', type=Path, default=OUT, help='default: %(default)s')
    options = parser.parse_args(words)
    batch, iterations, compared = (
        arguments.whole_number(name.upper(), getattr(options, name), 2, 10 ** 6)
        for name in ('batch', 'iters', 'compared'))
    variants = options.variants.split()
    if not variants or not set(variants) <= set(net.VARIANTS):
        raise SystemExit(f'--variants must be of {" ".join(net.VARIANTS)}.')
    card = gpu.which(options.gpu or '0')

    options.out.parent.mkdir(parents=True, exist_ok=True)
    page = ['# Caffe on a GPU\n']
    with tempfile.TemporaryDirectory() as folder:
        solvers = {name: network_speed.write(Path(folder, name), name, batch, iterations)
                   for name in {*variants, TIMED}}
        parts = ((devices, card), (gradients, card),
                 (training, {name: solvers[name] for name in variants}, card, batch, compared),
                 (layer_times, solvers[TIMED], card), (pytorch, solvers[TIMED], card, batch))
        for part, *given in parts:
            try:
                text = part(*given)
            except (SystemExit, Exception) as error:  # the others may still tell something
                text = f'**{part.__name__}: {error or type(error).__name__}**\n'
            page.append(text)
            print(text, flush=True)
            files.write(options.out, '\n'.join(page))
    print(f'Written to {options.out}')


def devices(card):
    """What the driver and Caffe say of the card, as Markdown; gpu's ID, None for the CPU."""
    if card is None:
        return 'No card: the CPU beside itself.\n'
    told = []
    for command in ['nvidia-smi'], ['caffe', 'device_query', '-gpu', str(card)]:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  encoding='utf-8', errors='replace',
                                  env=caffe_process.environment())
            told += done.stdout.splitlines()
        except OSError as error:
            told.append(str(error))
    return '\n'.join(['## The card', '', *(f'    {line}' for line in told), ''])


def gradients(card):
    """The tests of the layers, numerical gradients among them, with Caffe on the card."""
    environment = caffe_process.environment(level=2)
    if card is not None:
        environment['GCNET_TEST_GPU'] = str(card)  # tests/conftest.py
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
                           '-k', 'not kernels', *LAYERS],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8',
                          errors='replace', env=environment)
    lines = done.stdout.splitlines() or ['nothing was said']
    told = [line for line in lines if line.startswith(('FAILED', 'ERROR'))] + lines[-1:]
    if done.returncode < 0:  # Caffe has aborted, and pytest with it
        told = [f'ended by signal {-done.returncode}', *lines[-SAID:]]
    verdict = [] if done.returncode == 0 else ['**Not all of them passed.**', '']
    return '\n'.join(['## Our layers against numerical gradients', '', *verdict,
                      *(f'    {line}' for line in told), ''])


def training(solvers, card, batch, compared):
    """A table of what `caffe train` does on the card and on the CPU from the same weights and data,
    a line a variant. Dropout, which draws other numbers on each, drops nothing."""
    rows, notes = [], [
        f'differences are relative; above {ALIKE:g} look closer: one build of the CPU differs from '
        'another by as much (docs/performance.md).',
        f'batch {batch}, medians; the loss is the whole one of the training net.']
    for variant, solver in tqdm(solvers.items(), desc='training', ascii=True):
        network_speed.without_dropout(solver)
        shorter = solver.with_name('shorter.prototxt')
        shorter.write_text(solver.read_text().replace('max_iter:', f'max_iter: {compared} #'))
        try:
            there, here = trained(solver, card), trained(shorter, None)
        except SystemExit as error:  # its memory may be too small for this one alone
            notes.append(f'**{variant}: {error}**')
            continue

        # The last line is of no iteration: Caffe looks at the loss once more.
        losses = [[row['loss'] for row in caffe_log.rows(log) if 'loss' in row][:-1]
                  for log in (there, here)]
        common = min(map(len, losses))
        ours, theirs = (np.array(found[:common]) for found in losses)
        apart = np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-12))  # nan stays
        seconds = [statistics.median(network_speed.steps(log)) for log in (there, here)]
        rows.append({'variant': variant, 'first loss': f'{losses[0][0]:.4f}',
                     'last loss': f'{losses[0][-1]:.4f}', 'iterations': len(losses[0]),
                     f'largest difference of at most {compared} from the CPU': f'{apart:.1e}',
                     'ms an iteration': 1000 * seconds[0], 'on the CPU': 1000 * seconds[1],
                     'images a second': batch / seconds[0]})
    if not rows:
        return '\n\n'.join(['## Training', *notes, ''])
    return markdown(Table('Training', rows, notes))


def trained(solver, card):
    """The log of `caffe train`, as lines; SystemExit where it failed."""
    log, _ = network_speed.finish(network_speed.start(
        ['caffe', 'train', '-solver', solver, *network_speed.place(card)], workers.usable()))
    return log


def layer_times(solver, card, iterations=20):
    """A table of `caffe time`: the layer types that take longest."""
    seconds = network_speed.timed(solver, iterations, card)
    kinds = sorted({kind for kind, _ in seconds},
                   key=lambda kind: -seconds[kind, 'forward'] - seconds[kind, 'backward'])
    return markdown(Table(f'Layers of {TIMED}, ms an iteration', [
        {'what differs': kind, **{way: 1000 * seconds[kind, way] for way in network_speed.WAYS}}
        for kind in kinds[:LONGEST]], [f'by `caffe time`, mean of {iterations}.']))


def pytorch(solver, card, batch):
    """A table of the same network in PyTorch on the card, or why there is none."""
    try:
        from tools.bench import compare_torch
    except SystemExit as error:
        return f'## PyTorch\n\n{error}\n'
    device = 'cpu' if card is None else f'cuda:{card}'
    rows = [{'what differs': f'{layout}, {"TF32" if tf32 else "float32"}',
             'ms an iteration': 1000 * second, 'images a second': batch / second}
            for layout in compare_torch.LAYOUTS for tf32 in (False, True)
            for second in [statistics.median(compare_torch.train(
                TIMED, solver, 20, workers.usable(), layout, device, tf32))]]
    return markdown(Table(f'{TIMED} in PyTorch {compare_torch.torch.__version__}, eager mode', rows,
                          ['20 iterations, median.']))


if __name__ == '__main__':
    main()
