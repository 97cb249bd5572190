"""S1R1's forward pass once more: numpy, from the paper's section 3 and Table 1. Caffe must agree
with it."""
import os
import re
import subprocess
from math import ceil

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from scipy import ndimage, special

from data_prep import pair_lmdb
from prototxt import net

ENCODER = ((5, 1), (3, 0), (3, 0))  # Table 1's pooling: window, and the pad with which it halves
CLASSES = ['anger', 'happy', 'sad']
LABELS = np.array([0, 1, 2, 0])
PIXEL = 0.02  # the one scale of the pixel losses, not its default
LAMBDA = {'loss_cls': 1, 'loss_contr': 1,  # equations 3 and 6, section 4.1
          'loss_gen_r': 1 * PIXEL, 'loss_recon_r': 0.25 * PIXEL, 'loss_recon_i': 0.25 * PIXEL}


# Table 1. Pictures and maps are N x C x H x W; `blobs` is {layer: [blob, ...]}, each as Caffe keeps
# it.

def encoder(blobs, switches, name, x, stream=None):
    """En(x), and the places of its maxima. Two streams share an encoder's weights, but not its
    statistics."""
    stream, places = stream or name, []
    for i, (size, pad) in enumerate(ENCODER, 1):
        x = convolve(x, blobs[f'{name}/conv{i}'][0])
        x = relu(batch_norm(x, blobs[f'{stream}/bn{i}'], blobs[f'{name}/scale{i}']))
        x, found = pool(x, size, pad, switches.get(f'{stream}/switch{i}'))
        places.append(found)
    return x, places


def decoder(blobs, name, x, places, start=0.5):
    """De(x), a picture: the encoder's poolings undone in reverse, by repetition where the places do
    not fit. Without batch norm at its end, that is a small part of what was deconvolved, from
    `start` on."""
    for i, found in enumerate(reversed(places), 1):
        x = unpool(x, found) if found.shape == x.shape else np.kron(x, np.ones((1, 1, 2, 2)))
        x = deconvolve(x, blobs[f'{name}/deconv{i}'][0])
        normalized = f'{name}/bn{i}' in blobs
        x = relu(
            batch_norm(x, blobs[f'{name}/bn{i}'], blobs[f'{name}/scale{i}']
                       ) if normalized else start + 0.003 * x)
    return x


def convolve(x, filters):
    """Correlation with filters (outputs x inputs x size x size), the result as large as x."""
    half, (height, width) = filters.shape[-1] // 2, x.shape[2:]
    x = np.pad(x, [(0, 0), (0, 0), (half, half), (half, half)])
    return sum(per_pixel(filters[:, :, i, j], x[:, :, i:i + height, j:j + width])
               for i, j in np.ndindex(filters.shape[2:]))


def deconvolve(x, filters):
    """The adjoint of convolve: every value spreads through filters (inputs x outputs x size x
    size)."""
    half, (height, width) = filters.shape[-1] // 2, x.shape[2:]
    y = np.zeros((len(x), filters.shape[1], height + 2 * half, width + 2 * half))
    for i, j in np.ndindex(filters.shape[2:]):
        y[:, :, i:i + height, j:j + width] += per_pixel(filters[:, :, i, j].T, x)
    return y[:, :, half:-half, half:-half]


def per_pixel(matrix, x):
    """The matrix times the channels of every pixel."""
    return np.einsum('oc,nchw->nohw', matrix, x, optimize=True)


UNLEARNED = np.ones(1), np.zeros(1)


def batch_norm(x, statistics, learned=UNLEARNED):
    """statistics: mean and variance, both times a count, and the count. learned: gain and
    offset."""
    mean, variance, count = statistics
    vectors = mean / count, variance / count, *learned
    mean, variance, gain, offset = (each.reshape(-1, 1, 1) for each in vectors)
    return gain * (x - mean) / np.sqrt(variance + 1e-5) + offset


def relu(x):
    return np.maximum(x, 0)


def pool(x, size, pad, switches):
    """Maxima of windows at stride 2, and their places y * W + x: of equal ones, the first in row
    order.

    By Caffe's rule their number is rounded up, none starts beyond the picture, and its border clips
    them. Where the place in Caffe's `switches` has the same maximum but for rounding to float32,
    that one is taken: both are right there, yet in the unpooled map they are far apart.
    """
    n, c, height, width = x.shape
    number = ceil((height + 2 * pad - size) / 2) + 1
    if pad and (number - 1) * 2 >= height + pad:
        number -= 1
    padded = np.pad(x, [(0, 0), (0, 0), (pad, size), (pad, size)], constant_values=-np.inf)
    windows = np.stack([padded[:, :, i:i + 2 * number:2, j:j + 2 * number:2]
                        for i, j in np.ndindex(size, size)])
    maxima = windows.max(0)
    rows, columns = np.divmod(windows.argmax(0), size)
    start = np.arange(number) * 2 - pad
    places = (start[:, None] + rows) * width + start + columns
    if switches is None:  # no decoder takes them
        return maxima, places
    theirs = np.take_along_axis(x.reshape(n, c, -1), switches.reshape(n, c, -1), 2).reshape(
        maxima.shape)
    return maxima, np.where(np.abs(theirs - maxima) < 1e-5, switches, places)


def unpool(x, places):
    """Each value back in its place, on a map twice as high and wide; values that share a place add
    up."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, 4 * h * w))
    sample, channel, _ = np.indices((n, c, h * w))
    np.add.at(y, (sample, channel, places.reshape(n, c, -1)), x.reshape(n, c, -1))
    return y.reshape(n, c, 2 * h, 2 * w)


# Section 3.


def s1r1(pairs, labels, blobs, switches, codes, standardize, margin, neutral, generator='picture',
         **_):
    """All that the network says of pairs (N x 2 x 66 x 66, uint8) in the test phase, under Caffe's
    names."""
    x, x_r = np.split(pairs[:, :, 1:-1, 1:-1] / 255, 2, axis=1)
    generated = decoder(blobs, 'de1_r', *encoder(blobs, switches, 'en1', x),
                        start=x if generator == 'change' else 0.5)
    code, places = encoder(blobs, switches, 'en2', x)
    code_r, places_r = encoder(blobs, switches, 'en2', generated, stream='en2_r')
    reconstructed_i = decoder(blobs, 'de2_i', code, places)
    reconstructed_r = decoder(blobs, 'de2_r', code_r, places_r)

    scale = 1
    if codes == 'normalized':
        code, code_r = (each / norm(each).reshape(-1, 1, 1, 1) for each in (code, code_r))
        scale = np.sqrt(6144)  # of p elements of a unit vector
    delta = np.abs(code - code_r)  # equation 2
    feature = batch_norm(scale * delta, blobs['standardized']) if standardize else scale * delta
    score = dense(relu(dense(feature, *blobs['fc1_delta'])), *blobs['score_delta'])

    s = norm(code - code_r)
    alpha = np.ones(len(s)) if neutral is None else labels != neutral  # X^r is neutral
    # equations 4 and 5
    contr = alpha / 2 * np.maximum(0, margin - s) ** 2 + (1 - alpha) / 2 * s ** 2
    cross_entropy = special.logsumexp(score, axis=1) - score[range(len(labels)), labels]
    return dict(
        generated=generated,
        reconstructed_r=reconstructed_r,
        reconstructed_i=reconstructed_i,
        code=code,
        code_r=code_r,
        delta=delta,
        score=score,
        loss_cls=cross_entropy.mean(),
        loss_contr=contr.mean(),
        loss_gen_r=(norm(x_r - generated)**2 / 2).mean(),  # equation 7
        loss_recon_r=(norm(x_r - reconstructed_r)**2 / 2).mean(),  # equation 9
        loss_recon_i=(norm(x - reconstructed_i)**2 / 2).mean(),  # equation 10
        accuracy=(score.argmax(1) == labels).mean())


def norm(x):
    """The length of each sample."""
    return np.sqrt((x.reshape(len(x), -1) ** 2).sum(1))


def dense(x, weights, offset):
    return x.reshape(len(x), -1) @ weights.T + offset


# Against Caffe.

@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Four pairs of smooth random pictures, each darker than the last, and the path of an LMDB of
    them."""
    noise = ndimage.gaussian_filter(np.random.RandomState(1).randn(4, 2, 66, 66), (0, 0, 4, 4))
    white = np.reshape([255, 180, 105, 30], (4, 1, 1, 1))
    pairs = np.uint8(white * np.clip(0.5 + 2 * noise, 0, 1))
    path = tmp_path_factory.mktemp('pairs') / 'test'
    rows = [dict(subject='S001', sequence='001', frame=f'{i}', expression=CLASSES[label],
                 path=(i, 0), reference=(i, 1)) for i, label in enumerate(LABELS)]
    pair_lmdb.write_pairs(str(path), rows, CLASSES, {i: pairs[i] for i in np.ndindex(4, 2)}.get)
    return pairs, f'{path}_lmdb'


def randomise(engine, scaled):
    """Random values in every blob, so that none is at its start; variances that show batch norm's
    epsilon."""
    random = np.random.RandomState(2)
    for layer in engine.layers:
        n = len(layer.blobs) and layer.blobs[0].data.shape[0]
        if layer.type == 'BatchNorm':
            count = random.uniform(2, 20)
            values = count * random.normal(0, 0.05, n), count * random.uniform(0.01, 0.03, n), count
        elif layer.type == 'Scale':
            values = random.uniform(0.2, 0.8, n), random.uniform(-0.2, 0.4, n)
        else:
            # of filters as small as the deviations
            size = 1 if layer.type == 'InnerProduct' else 0.25
            if layer.type == 'Deconvolution' and layer.blobs[0].data.shape[1] == 1 and scaled:
                size = 50  # of which the picture shows a small part
            values = [random.normal(0, size / np.sqrt(blob.data[0].size), blob.data.shape)
                      for blob in layer.blobs]
        for blob, value in zip(layer.blobs, values):
            blob.data[...] = value


@pytest.mark.parametrize('settings', [  # the two last margins lie amid the samples' distances
    dict(codes='normalized', standardize=True, margin=1.0, neutral=None),
    dict(codes='normalized', standardize=True, margin=1.0, neutral=None, decoder='switches'),
    dict(codes='normalized', standardize=True, margin=1.0, neutral=None, picture='normalized'),
    dict(codes='normalized', standardize=True, margin=1.0, neutral=None, generator='change'),
    dict(codes='normalized', standardize=True, margin=0.64, neutral=0),
    dict(codes='raw', standardize=False, margin=40.0, neutral=None)])
def test_caffe_says_what_the_paper_says(settings, data, tmp_path):
    pairs, lmdb = data
    path = tmp_path / 'net.prototxt'
    path.write_text(
        net.train_val('s1r1', 3, lmdb, lmdb, test_batch_size=4, pixel_scale=PIXEL, **settings))
    engine = caffe.Net(str(path), caffe.TEST)
    randomise(engine, scaled=settings.get('picture') != 'normalized')
    # what forward() calls; it hands over the total loss
    total = engine._forward(0, len(engine.layers) - 1)

    blobs = {
        name: [blob.data.astype(float)
               for blob in blobs]
        for name, blobs in engine.params.items()
    }
    switches = {
        name: blob.data.astype(int)
        for name, blob in engine.blobs.items()
        if '/switch' in name
    }
    expected = s1r1(pairs, LABELS, blobs, switches, **settings)
    for name, value in expected.items():
        assert np.ptp(value) > 0 or np.ndim(value) == 0 and value > 0, f'{name} shows nothing'
        error = np.abs(engine.blobs[name].data - value).max() / np.abs(value).max()
        assert error < 1e-4, f'{name} is off by {error:.1e} of its largest'

    layers = text_format.Parse(path.read_text(), caffe_pb2.NetParameter()).layer
    weights = {
        layer.top[0]: (layer.loss_weight or [1])[0]
        for layer in layers
        if 'loss' in layer.name
    }
    assert weights == pytest.approx(LAMBDA)
    parts = [LAMBDA[name] * expected[name] for name in LAMBDA]
    assert total == pytest.approx(sum(parts), rel=1e-4)  # equation 3


def test_caffe_train_reports_equation_3(data, tmp_path):
    _, lmdb = data
    path, solver = tmp_path / 'net.prototxt', tmp_path / 'solver.prototxt'
    path.write_text(net.train_val('s1r1', 3, lmdb, lmdb, batch_size=4, pixel_scale=PIXEL))
    solver.write_text(net.solver(path, tmp_path / 's1r1', max_iter=1, display=1, mode='CPU')
                      + 'snapshot_after_train: false')
    environment = dict(os.environ, GLOG_minloglevel='0', GLOG_logtostderr='1')
    log = subprocess.run(['caffe', 'train', '-solver', str(solver)], env=environment, check=True,
                         stderr=subprocess.PIPE, encoding='utf-8').stderr
    total, = re.findall(r'\] Iteration 0 .*, loss = (\S+)', log)
    outputs = re.findall(r'Train net output #\d+: (\w+) = (\S+) \(\* (\S+) = ', log)
    assert {name: float(weight) for name, _, weight in outputs} == pytest.approx(LAMBDA)
    parts = [LAMBDA[name] * float(value) for name, value, _ in outputs]
    assert float(total) == pytest.approx(sum(parts), rel=1e-5)  # six digits are printed
