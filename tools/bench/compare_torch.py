"""How fast the same network trains in Caffe and in PyTorch (eager mode), here, in turns.

    docker/enter python3 -m pip install --target runs/torch torch==2.8.0     (once)
    docker/enter env PYTHONPATH=.:runs/torch python3 -m tools.bench.compare_torch [--variant cnn]

On a card it is tools/bench/gpu_check.py that takes it, with GCNET_CAFFE=cuda before both lines,
and a folder of its own: the Python there is another.

First the two networks are compared, with the same weights on the same batch: losses and gradients.
Then they train in processes of their own, with 1 and 2 threads, and two processes with a thread
each at once, as in a sweep. Caffe reads and augments its batches; PyTorch is given one batch that
lies ready. Unpooling is by scatter_add: where windows overlap and one place is the maximum of
several, values add up as in layers/unpool.py; PyTorch's own max_unpool2d keeps one of them.
"""
import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from tqdm import tqdm

from prototxt import net, parts
from tools.bench import network_speed

try:
    import torch
except ImportError as error:
    raise SystemExit(
        f'PyTorch is not here ({error}), and nothing else needs it: the first lines of '
        'tools/bench/compare_torch.py say how to get it.') from None
from torch import nn
from torch.nn import functional as F

POOLS = ((5, 1), (3, 0), (3, 0))  # size and pad
# Relative differences of losses, outputs and gradients. Of two values that differ by rounding alone
# either may be a window's maximum: then a value is unpooled elsewhere, which single outputs and
# gradients show.
ALIKE = (1e-3, 0.05, 0.1)
SETTINGS = ((1, 1), (2, 1), (1, 2))  # threads of a process, processes at once
LAYOUTS = ('contiguous_format', 'channels_last')  # PyTorch's, of pictures and filters in memory


class Encoder(nn.Module):
    """Table 1, encoder: N x 1 x 64 x 64 to N x 96 x 8 x 8, and the places of its maxima."""

    def __init__(self):
        super().__init__()
        sizes = ((1, 32, 5), (32, 64, 3), (64, 96, 3))
        self.conv = nn.ModuleList(
            nn.Conv2d(*size, padding=size[2] // 2, bias=False) for size in sizes)
        self.scale = nn.ModuleList(norm(filters) for _, filters, _ in sizes)

    def forward(self, x):
        switches = []
        for conv, scale, (size, pad) in zip(self.conv, self.scale, POOLS):
            x = F.relu(scale(conv(x)), inplace=True)
            x, places = F.max_pool2d(x, size, 2, pad, ceil_mode=True, return_indices=True)
            switches.append(places)
        return x, switches


class Decoder(nn.Module):
    """Table 1, decoder: a code and the encoder's switches, which fit the first unpooling, to a
    picture N x 1 x 64 x 64."""

    def __init__(self):
        super().__init__()
        sizes = ((96, 32, 3), (32, 64, 3), (64, 1, 5))
        self.deconv = nn.ModuleList(nn.ConvTranspose2d(*size, padding=size[2] // 2, bias=False)
                                    for size in sizes)
        self.scale = nn.ModuleList(norm(filters) for _, filters, _ in sizes[:-1])

    def forward(self, x, switches):
        for i, deconv in enumerate(self.deconv):
            x = F.interpolate(x, scale_factor=2) if i else unpool(x, switches[-1])
            x = deconv(x)
            x = F.relu(self.scale[i](x) if i < len(self.scale) else 0.5 + parts.PICTURE_SCALE * x,
                       inplace=True)
        return x


def norm(filters, **settings):
    """Batch norm with Caffe's running averages."""
    return nn.BatchNorm2d(filters, momentum=1 - parts.AVERAGE, **settings)


def unpool(x, places):
    """Values at the places of a max pooling with stride 2, added up where they meet, else 0."""
    n, channels, height, width = x.shape
    plane = x.new_zeros(n, channels, 4 * height * width)
    plane = plane.scatter_add(2, places.flatten(2), x.flatten(2))
    return plane.view(n, channels, 2 * height, 2 * width)


def classify(code, network, fc1, score):
    """N x 96 x 8 x 8 to the classes' scores, by a network's batch norm and dropout, and two of its
    layers."""
    x = network.dropout(network.standardized(code))
    return score(F.relu(fc1(x.flatten(1)), inplace=True))


class CNN(nn.Module):
    """The CNN by the names of prototxt/net.py: pictures N x 1 x 64 x 64 to a dict as of GCNet."""

    def __init__(self, classes):
        super().__init__()
        self.en2 = Encoder()
        self.standardized = norm(96, affine=False)
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(parts.CODE, parts.HIDDEN)
        self.score = nn.Linear(parts.HIDDEN, classes)

    def forward(self, query):
        code, _ = self.en2(query)
        return dict(score=classify(code, self, self.fc1, self.score))


class GCNet(nn.Module):
    """S1R1 by the names of prototxt/net.py: pictures to a dict of Caffe's blobs by name.

    Pictures are N x 1 x 64 x 64.
    """

    def __init__(self, classes):
        super().__init__()
        self.en1, self.en2 = Encoder(), Encoder()
        self.de1_r, self.de2_r, self.de2_i = Decoder(), Decoder(), Decoder()
        self.standardized = norm(96, affine=False)
        self.dropout = nn.Dropout(0.5)
        self.fc1_delta = nn.Linear(parts.CODE, parts.HIDDEN)
        self.score_delta = nn.Linear(parts.HIDDEN, classes)

    def forward(self, query):
        generated = self.de1_r(*self.en1(query))
        code, switches = self.en2(query)
        code_r, switches_r = self.en2(generated)
        blobs = dict(generated=generated, reconstructed_r=self.de2_r(code_r, switches_r),
                     reconstructed_i=self.de2_i(code, switches),
                     code=F.normalize(code.flatten(1)), code_r=F.normalize(code_r.flatten(1)))
        delta = (blobs['code'] - blobs['code_r']).abs() * parts.CODE ** 0.5
        return dict(blobs, score=classify(delta.view_as(code), self, self.fc1_delta,
                                          self.score_delta))


NETWORKS = dict(cnn=CNN, s1r1=GCNet)


def losses(blobs, query, reference, referred, label):
    """The loss to descend, and its terms (equation 3) by the names of Caffe's blobs."""
    if 'generated' not in blobs:  # a CNN's
        loss = F.cross_entropy(blobs['score'], label)
        return loss, dict(loss_cls=loss)
    settings, pixel = net.SETTINGS, net.SETTINGS['pixel_scale']
    distance = (blobs['code'] - blobs['code_r']).norm(dim=1)
    referred = referred.view(-1, 1, 1, 1)
    terms = dict(
        loss_cls=F.cross_entropy(blobs['score'], label),
        loss_contr=F.relu(settings['margin'] - distance).square().mean() / 2,
        loss_gen_r=euclidean(blobs['generated'] * referred, reference * referred),
        loss_recon_r=euclidean(blobs['reconstructed_r'] * referred, reference * referred),
        loss_recon_i=euclidean(blobs['reconstructed_i'], query))
    loss = (terms['loss_cls'] + settings['contrast_weight'] * terms['loss_contr'] +
            pixel * settings['generate_weight'] * terms['loss_gen_r'] +
            pixel * settings['reconstruct_weight'] *
            (terms['loss_recon_r'] + terms['loss_recon_i']))
    return loss, terms


def euclidean(a, b):
    """Caffe's EuclideanLoss."""
    return (a - b).square().sum() / (2 * len(a))


def main():
    from tools.bench import measure as bench  # with a detector, which a bundle lacks

    parser = argparse.ArgumentParser(description='How fast a network trains in Caffe and PyTorch.')
    parser.add_argument('--out', type=Path, default=bench.OUT)
    parser.add_argument('--variant', choices=NETWORKS, default='s1r1', help='(default: s1r1)')
    # solver, iterations, threads, layout: as a child
    parser.add_argument('--train', nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        solver, iterations, threads, layout = options.train
        return print('\n'.join(map(str, train(options.variant, Path(solver), int(iterations),
                                              int(threads), layout))))
    found = bench.read_measured(options.out)
    bench.record(options.out, found, 'torch', check_alike(options.variant) +
                 measure(options.variant))
    print(f'Written to {options.out}; PyTorch {torch.__version__}, Caffe {caffe.__version__}')


def check_alike(variant='s1r1', batch=16):
    """[(name, value, unit)]: how alike the two networks of a variant are. SystemExit where they are
    not."""
    with tempfile.TemporaryDirectory() as folder:
        solver = network_speed.write(Path(folder, variant), variant, batch, 1)
        path = network_speed.without_dropout(solver)
        caffe.set_random_seed(1)
        theirs = caffe.Net(str(path), caffe.TRAIN)
    theirs.forward()

    # Noise: where a face is flat, rounding decides which of equal values is the maximum
    random = np.random.RandomState(1)
    for name in ('query', 'reference'):
        theirs.blobs[name].data[...] = random.rand(batch, 1, parts.CROP, parts.CROP)
    theirs.forward(start='en1/conv1' if variant == 's1r1' else 'en2/conv1')
    theirs.clear_param_diffs()
    theirs.backward()

    ours = NETWORKS[variant](theirs.blobs['score'].channels)
    ours.dropout.p = 0
    learned = {id_of(name): parameter for name, parameter in ours.named_parameters()}
    expected = {(layer, i): blob
                for layer, blobs in theirs.params.items()
                for i, blob in enumerate(blobs)
                if not layer.startswith('en2_r/') and theirs.layer_dict[layer].type != 'BatchNorm'}
    shapes = [{(*key, *weights.shape) for key, weights in network.items()}
              for network in (learned, expected)]
    if shapes[0] != shapes[1]:
        raise SystemExit(f'The networks differ in weights: {sorted(shapes[0] ^ shapes[1])}.')
    with torch.no_grad():
        for key, parameter in learned.items():
            parameter.copy_(torch.from_numpy(expected[key].data.copy()))

    inputs = batch_of(theirs)
    blobs = ours(inputs[0])
    loss, terms = losses(blobs, *inputs)
    loss.backward()

    of_terms = max(apart(terms[name].detach(), theirs.blobs[name].data) for name in terms)
    of_blobs = max(
        apart(blobs[name].detach().reshape(theirs.blobs[name].data.shape), theirs.blobs[name].data)
        for name in blobs)
    of_gradients = max(
        apart(parameter.grad, expected[key].diff) for key, parameter in learned.items())
    number = sum(parameter.numel() for parameter in learned.values())
    found = [('weights learned, in both', number, ''),
             ('PyTorch against Caffe, largest relative difference of losses', of_terms, ''),
             ('PyTorch against Caffe, largest relative difference of outputs', of_blobs, ''),
             ('PyTorch against Caffe, largest relative difference of gradients', of_gradients, '')]

    for (name, value, _), limit in zip(found[1:], ALIKE):
        if not value < limit:
            raise SystemExit(f'The networks compute different things ({name}: {value:.2g}): '
                             'their speeds say nothing.')
    return found


def id_of(name):
    """(layer, index of the blob) in Caffe of a parameter of GCNet.

    en1.conv.0.weight is ('en1/conv1', 0).
    """
    part, *inner, blob = name.split('.')
    return f'{part}/{inner[0]}{int(inner[1]) + 1}' if inner else part, int(blob == 'bias')


def batch_of(network):
    """query, reference, referred and label of a caffe.Net's last pass, as tensors."""
    *pictures, label = (torch.from_numpy(network.blobs[name].data.copy())
                        for name in ('query', 'reference', 'referred', 'label'))
    return (*pictures, label.long())


def apart(ours, theirs):
    """Relative difference: the length of the difference of two arrays by the length of one."""
    return float(np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs))


def measure(variant='s1r1', batch=64, iterations=5, rounds=5):
    """[(name, value, unit)]: seconds an iteration, and images a second; medians of several rounds,
    PyTorch's in the layout of its memory that is the faster one."""
    seconds = {(engine, *setting): [] for setting in SETTINGS
               for engine in ('Caffe', *LAYOUTS)}
    with tempfile.TemporaryDirectory() as folder:
        solvers = [network_speed.write(Path(folder, str(i)), variant, batch, iterations)
                   for i in range(2)]
        # In turns: what else this machine does meanwhile slows both engines.
        for setting, times in tqdm(list(seconds.items()) * rounds, desc='torch', ascii=True):
            engine, threads, processes = setting
            times.append(trained(engine, variant, solvers[:processes], iterations, threads))
    median = {key: statistics.median(times) for key, times in seconds.items()}
    for setting in SETTINGS:
        median[('PyTorch', *setting)] = min(median[(layout, *setting)] for layout in LAYOUTS)

    table = []
    for setting in SETTINGS:
        threads, processes = setting
        what = f'{threads} thread{"s" * (threads > 1)}'
        if processes > 1:
            what = f'{processes} processes at once'

        for engine in ('Caffe', 'PyTorch'):
            taken = median[engine, threads, processes]
            table += [(f'{variant}, batch {batch}, {engine}, {what}: an iteration', taken, 's'),
                      (f'{engine}, {what}: images trained a second', processes * batch / taken,
                       '/s')]
        ratio = median['Caffe', threads, processes] / median['PyTorch', threads, processes]
        table.append((f'speed of PyTorch, that of Caffe being 1, {what}', ratio, 'times'))
    return table


def trained(engine, variant, solvers, iterations, threads):
    """Median seconds an iteration of processes that train at once, one a solver."""
    own = [sys.executable, '-m', 'tools.bench.compare_torch', '--variant', variant, '--train']
    started = [
        network_speed.start(['caffe', 'train', '-solver', solver]
                            if engine == 'Caffe' else
                            [*own, solver, iterations, threads, engine], threads)
        for solver in solvers
    ]
    logs = [network_speed.finish(process)[0] for process in started]
    return statistics.median(
        second for log in logs
        for second in (network_speed.steps(log) if engine == 'Caffe' else numbers(log)))


def numbers(log):
    """What train() printed last, a number a line."""
    return [float(line) for line in log if line.replace('.', '', 1).isdigit()]


def train(variant, solver, iterations, threads, layout='contiguous_format', device='cpu',
          tf32=False):
    """Seconds of each iteration of a variant in PyTorch but the first, on one batch of a solver's
    training data. layout, device: PyTorch's names, of its pictures' and filters' order in memory,
    and of the card that they are on; tf32: whether that may round products to TF32."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_num_threads(threads)
    network = text_format.Parse(
        solver.with_name('net.prototxt').read_text(), caffe_pb2.NetParameter())
    pairs, _ = network_speed.front(network, solver.with_name('front.prototxt'))
    pairs.forward()
    order = getattr(torch, layout)
    query, *others = (tensor.to(device) for tensor in batch_of(pairs))
    inputs = (query.contiguous(memory_format=order), *others)
    model = NETWORKS[variant](classes=7).to(device, memory_format=order)
    descent = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, nesterov=True,
                              weight_decay=0.0001)
    seconds = []
    for _ in range(iterations + 1):
        begun = time.perf_counter()
        descent.zero_grad()
        losses(model(inputs[0]), *inputs)[0].backward()
        descent.step()
        if device != 'cpu':  # which is given work, and not waited for
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


if __name__ == '__main__':
    main()
