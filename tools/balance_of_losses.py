"""How much each loss moves the encoders of a run, so that nobody trains with a dead term.

`make balance-of-losses`, or

    python3 -m tools.balance_of_losses --dataset demo --variant s1r1 --fold 3

Takes training batches, as augmented as in training, through the training network with the weights
of the run's last snapshot (with --start: with those that it began with), and asks each loss alone
for its gradient. A line a loss: its value, weighted; the norm of its gradient in the weights of
`--layer`, mean over the batches; and that in per cent of Cls's. Where the network compares codes, S
of equation 4 is told by class: mean and standard deviation.
"""
import argparse
from pathlib import Path

import caffe
import numpy as np

from tools.core import arguments, request, run_folder, snapshots, tested_run

LAYER = 'en2/conv3'
# Of others the packaged Caffe gives a wrong gradient from the second time on in one pass: its Scale
# in place overwrites what it has kept of its input.
TYPES = ('Convolution', 'Deconvolution', 'InnerProduct')


def main():
    parser = argparse.ArgumentParser(prog='python3 -m tools.balance_of_losses',
                                     description=__doc__.split('\n\n')[0])
    arguments.add_run_options(parser)
    parser.add_argument('--layer', default=LAYER, help='whose weights (default: %(default)s)')
    parser.add_argument('--batches', default=4, help='training batches (default: %(default)s)')
    parser.add_argument('--start', action='store_true', help='with the weights that it began with')
    options = parser.parse_args()
    folder = arguments.named_folder(options)
    batches = arguments.whole_number('BATCHES', options.batches, 1, 1000)
    run = run_folder.read_settings(folder)
    tested_run.check_data(folder, run)
    if options.start:
        weights, state = run['weights'], 'at its start'
    else:
        weights, state = last_weights(folder)
    net = load_net(folder / 'net.prototxt', weights, run['seed'])
    layers = [name for name in net.params if net.layer_dict[name].type in TYPES]
    if options.layer not in layers:
        raise SystemExit(f'LAYER {options.layer!r} cannot be asked in {folder}: it is one of '
                         f'{", ".join(layers)}.')

    found = measure(net, batches, options.layer)
    print(f'{folder}, {state}: gradient in {options.layer}, mean of {batches} batches')
    print(as_text(found['losses']))
    for line in tell_distances(found, run['classes']):
        print(line)


def last_weights(folder):
    """The last caffemodel of a run, in a list, and words for it; SystemExit without one."""
    snapshot = snapshots.last_snapshot(folder)
    if snapshot is None:
        raise SystemExit(
            f'{folder} has no snapshot: train it first, or ask for its start (START=1).')
    return [snapshot.caffemodel], f'iteration {snapshot.iteration}'


def load_net(prototxt, weights, seed=1):
    """A training network with the weights of several caffemodels.

    SystemExit where they do not fit.
    """
    request.check_weights(weights, Path(prototxt).read_text(encoding='utf-8'))
    caffe.set_mode_cpu()
    caffe.set_random_seed(seed)
    net = caffe.Net(str(prototxt), caffe.TRAIN)
    for path in weights:
        net.copy_from(str(path))
    return net


def measure(net, batches, layer=LAYER):
    """{losses: {name: (weighted value, gradient's norm)}, S: N distances, labels: N}.

    Norms are L2, of the gradient in the first blob of `layer`; mean over the batches.
    """
    names = [name for name in net.outputs if name.startswith('loss_')]
    weights = {name: float(net.blobs[name].diff) for name in names}  # Caffe keeps them there
    sums = {name: np.zeros(2) for name in names}
    distances, labels = [], []

    # All losses are of one pass, and of the same transforms: each forward draws others.
    for _ in range(batches):
        net.forward()
        for name in names:
            value = weights[name] * float(net.blobs[name].data)
            sums[name] += value, gradient(net, layer, name, weights)
        if 'code_r' in net.blobs:
            gap = net.blobs['code'].data - net.blobs['code_r'].data
            distances.append(np.linalg.norm(gap.reshape(len(gap), -1), axis=1))
        labels.append(net.blobs['label'].data.astype(int).ravel().copy())

    return dict(losses={name: tuple(total / batches) for name, total in sums.items()},
                S=np.concatenate(distances) if distances else None, labels=np.concatenate(labels))


def gradient(net, layer, name, weights):
    """The norm of what one loss alone, with its weight, asks of the weights of a layer."""
    # Caffe goes back from the diff of each loss, which is its weight: 0 silences a loss.
    for other, weight in weights.items():
        net.blobs[other].diff[...] = weight if other == name else 0

    # The weights' gradients add up over passes until somebody clears them.
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    net.backward()

    for other, weight in weights.items():
        net.blobs[other].diff[...] = weight
    return float(np.linalg.norm(net.params[layer][0].diff))


def as_text(losses):
    """The table of {name: (value, norm)}, a line a loss."""
    # An auto-encoder has no Cls to compare with.
    whole = losses['loss_cls'][1] if 'loss_cls' in losses else None
    lines = [f'{"loss":<14}{"value":>10}{"gradient":>10}{"% of Cls":>10}']
    for name, (value, norm) in losses.items():
        share = f'{100 * norm / whole:.1f}' if whole else '-'
        lines.append(f'{name[5:]:<14}{value:>10.4g}{norm:>10.3g}{share:>10}')
    return '\n'.join(lines)


def tell_distances(found, classes):
    """Sentences on S by class, none where no codes are compared."""
    if found['S'] is None:
        return
    for label, name in enumerate(classes):
        own = found['S'][found['labels'] == label]
        if len(own):
            yield f'S of {name}: {own.mean():.3g} (sd {own.std():.2g}, {len(own)} images)'


if __name__ == '__main__':
    main()
