"""S1R1's forward pass a second time, in numpy straight from the paper's section 3 and Table 1, against Caffe's."""
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

from data_prep import lmdb_writer
from prototxt import net

TABLE_1 = ((5, 1), (3, 0), (3, 0))  # of En, in order: size of filters and of pooling; the pad at which pooling halves
CLASSES = ['anger', 'happy', 'sad']
LABELS = np.array([0, 1, 2, 0])
PIXEL_SCALE = 0.02
LAMBDA = {'loss_cls': 1, 'loss_contr': 1, 'loss_gen_r': 1 * PIXEL_SCALE,
          'loss_recon_r': 0.25 * PIXEL_SCALE, 'loss_recon_i': 0.25 * PIXEL_SCALE}  # equations 3 and 6, section 4.1


# Table 1. Pictures and maps are N x C x H x W; `net` is {layer: [blob, ...]}, each blob as Caffe keeps it.

def encoder(x, net, name, statistics, ties):
    """En(x), and where its three poolings found their maxima. The batch norms' statistics have a name of their own."""
    switches = []
    for i, (size, pad) in enumerate(TABLE_1, 1):
        x = convolve(x, net[f'{name}/conv{i}'][0])
        x = relu(batch_norm(x, net[f'{statistics}/bn{i}'], net[f'{name}/scale{i}']))
        x, places = pool(x, size, pad, ties[f'{statistics}/switch{i}'])
        switches.append(places)
    return x, switches


def decoder(net, name, x, switches):
    """De(x), a picture."""
    for i, places in enumerate(reversed(switches), 1):
        x = deconvolve(unpool(x, places), net[f'{name}/deconv{i}'][0])
        x = relu(batch_norm(x, net[f'{name}/bn{i}'], net[f'{name}/scale{i}']))
    return x


def convolve(x, filters):
    """Correlation with `filters` (outputs x inputs x size x size), its result as large as x."""
    size, (height, width) = filters.shape[-1], x.shape[2:]
    x = np.pad(x, [(0, 0), (0, 0), [size // 2] * 2, [size // 2] * 2])
    return sum(np.tensordot(x[:, :, i:i + height, j:j + width], filters[:, :, i, j], (1, 1)).transpose(0, 3, 1, 2)
               for i, j in np.ndindex(size, size))


def deconvolve(x, filters):
    """The adjoint of `convolve`: every value spreads through `filters` (inputs x outputs x size x size)."""
    (size, half), (height, width) = (filters.shape[-1], filters.shape[-1] // 2), x.shape[2:]
    y = np.zeros((len(x), filters.shape[1], height + 2 * half, width + 2 * half))
    for i, j in np.ndindex(size, size):
        y[:, :, i:i + height, j:j + width] += np.tensordot(x, filters[:, :, i, j], (1, 0)).transpose(0, 3, 1, 2)
    return y[:, :, half:-half, half:-half]


def batch_norm(x, statistics, learned=None):
    """Caffe keeps mean and variance multiplied by a count; the learned gain and offset are a second layer's."""
    mean, variance = (channels(total / statistics[2]) for total in statistics[:2])
    gain, offset = map(channels, learned) if learned else (1, 0)
    return gain * (x - mean) / np.sqrt(variance + 1e-5) + offset


def channels(vector):
    return vector.reshape(-1, 1, 1)


def relu(x):
    return np.maximum(x, 0)


def pool(x, size, pad, ties):
    """Maxima of windows at stride 2, and their places y * width + x, the first one in row order.

    Caffe rounds up, starts no window beyond the picture, and clips windows at its border. `ties`: Caffe's places, taken
    where their value is the maximum but for float32's rounding: both are right then, yet unpooling sees the difference.
    """
    height = x.shape[-1]
    n = ceil((height + 2 * pad - size) / 2) + 1
    if pad and (n - 1) * 2 >= height + pad:
        n -= 1
    outside = [(0, 0), (0, 0), (pad, size), (pad, size)]
    padded = np.pad(x, outside, constant_values=-np.inf)
    windows = np.stack([padded[:, :, i:i + 2 * n:2, j:j + 2 * n:2] for i, j in np.ndindex(size, size)])
    rows, columns = np.divmod(windows.argmax(0), size)
    corner = np.arange(n) * 2 - pad
    places = (corner[:, None] + rows) * height + corner + columns
    assert ties.shape == places.shape and (ties == places).mean() > 0.9999
    chosen = np.take_along_axis(x.reshape(*x.shape[:2], -1), ties.reshape(*x.shape[:2], -1), 2).reshape(ties.shape)
    return windows.max(0), np.where(np.isclose(chosen, windows.max(0), rtol=0, atol=1e-5), ties, places)


def unpool(x, places):
    """Every value back in its place on a map twice as high and wide; values that share a place add up."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, 4 * h * w))
    sample, channel, _ = np.indices((n, c, h * w))
    np.add.at(y, (sample, channel, places.reshape(n, c, -1)), x.reshape(n, c, -1))
    return y.reshape(n, c, 2 * h, 2 * w)


# Section 3.

def s1r1(pairs, labels, net, ties, codes, standardize, margin, neutral):
    """Everything that the network says of pairs (N x 2 x 66 x 66, uint8), under Caffe's names."""
    x, x_r = np.split(pairs[:, :, 1:-1, 1:-1] / 255, 2, axis=1)
    generated = decoder(net, 'de1_r', *encoder(x, net, 'en1', 'en1', ties))
    code, switches = encoder(x, net, 'en2', 'en2', ties)
    code_r, switches_r = encoder(generated, net, 'en2', 'en2_r', ties)  # one En2, seeing two kinds of pictures
    reconstructed_r = decoder(net, 'de2_r', code_r, switches_r)
    reconstructed_i = decoder(net, 'de2_i', code, switches)

    unit = 1
    if codes == 'normalized':
        code, code_r = (each / norm(each)[:, None, None, None] for each in (code, code_r))
        unit = np.sqrt(code[0].size)
    delta = np.abs(code - code_r)  # equation 2
    feature = batch_norm(unit * delta, net['standardized']) if standardize else unit * delta
    score = dense(relu(dense(feature, *net['fc1'])), *net['score'])

    s = norm(code - code_r)
    alpha = np.ones(len(labels)) if neutral is None else labels != neutral
    contr = alpha / 2 * np.maximum(0, margin - s) ** 2 + (1 - alpha) / 2 * s ** 2  # equations 4 and 5
    probability = special.softmax(score, axis=1)
    return dict(generated=generated, reconstructed_r=reconstructed_r, reconstructed_i=reconstructed_i,
                code=code, code_r=code_r, delta=delta, score=score,
                loss_cls=-np.log(probability[range(len(labels)), labels]).mean(), loss_contr=contr.mean(),
                loss_gen_r=(norm(x_r - generated) ** 2).mean() / 2,  # equation 7
                loss_recon_r=(norm(x_r - reconstructed_r) ** 2).mean() / 2,  # equation 9
                loss_recon_i=(norm(x - reconstructed_i) ** 2).mean() / 2,  # equation 10
                accuracy=(score.argmax(1) == labels).mean())


def norm(x):
    """The length of each sample."""
    return np.sqrt((x.reshape(len(x), -1) ** 2).sum(1))


def dense(x, weights, offset):
    return x.reshape(len(x), -1) @ weights.T + offset


# Against Caffe.

@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """Four pairs of smooth random pictures, N x 2 x 66 x 66, and the path of the LMDB that holds them."""
    noise = ndimage.gaussian_filter(np.random.RandomState(1).randn(8, 66, 66), (0, 4, 4))
    crops = {i: np.uint8(np.interp(picture, (-0.25, 0.25), (0, 255 - 75 * (i % 4)))) for i, picture in enumerate(noise)}
    rows = [dict(subject='S001', sequence='001', frame=f'{i}', expression=CLASSES[label], path=i, reference=i + 4)
            for i, label in enumerate(LABELS)]
    path = tmp_path_factory.mktemp('pairs') / 'test'
    lmdb_writer.write(str(path), rows, CLASSES, crops)
    return np.stack([[crops[i], crops[i + 4]] for i in range(4)]), f'{path}_lmdb'


def randomise(engine, seed):
    """Random values in every blob, none at its start; variances so small that batch norm's epsilon counts."""
    random = np.random.RandomState(seed)
    for name, layer in zip(engine._layer_names, engine.layers):
        if layer.type == 'BatchNorm':
            n, count = layer.blobs[0].count, random.uniform(2, 20)
            values = 0.05 * random.randn(n) * count, random.uniform(0.01, 0.03, n) * count, [count]
        elif layer.type == 'Scale':
            n = layer.blobs[0].count
            values = random.uniform(0.5, 1.5, n), random.uniform(-0.3, 0.5, n)
        else:
            scale = 1 if layer.type == 'InnerProduct' else 0.25
            values = [scale * random.randn(*blob.data.shape) / np.sqrt(blob.data[0].size) for blob in layer.blobs]
        for blob, value in zip(layer.blobs, values):
            blob.data[...] = value


@pytest.mark.parametrize('settings', [
    dict(codes='normalized', standardize=True, margin=1.0, neutral=None),
    dict(codes='normalized', standardize=True, margin=1.0, neutral=0),
    dict(codes='raw', standardize=False, margin=400.0, neutral=None)])
def test_caffe_says_what_the_paper_says(settings, pairs, tmp_path):
    pictures, lmdb = pairs
    path = tmp_path / 'net.prototxt'
    path.write_text(net.train_val('s1r1', 3, lmdb, lmdb, test_batch_size=4, pixel_scale=PIXEL_SCALE, **settings))
    engine = caffe.Net(str(path), caffe.TEST)
    randomise(engine, seed=2)
    engine.forward()

    blobs = {name: [blob.data.astype(float) for blob in blobs] for name, blobs in engine.params.items()}
    switches = {name: blob.data.astype(int) for name, blob in engine.blobs.items() if '/switch' in name}
    expected = s1r1(pictures, LABELS, blobs, switches, **settings)
    for name, value in expected.items():
        assert np.std(value) > 0 or np.ndim(value) == 0 and 0 < value < np.inf, f'{name} says nothing'
        error = np.abs(engine.blobs[name].data - value).max() / np.abs(value).max()
        assert error < 1e-4, f'{name} is off by {error:.1e} of its largest'

    layers = text_format.Parse(path.read_text(), caffe_pb2.NetParameter()).layer
    weights = {layer.top[0]: (list(layer.loss_weight) or [1])[0] for layer in layers if layer.name.startswith('loss_')}
    assert weights == pytest.approx(LAMBDA)
    total = engine._forward(0, len(engine.layers) - 1)
    assert total == pytest.approx(sum(LAMBDA[name] * expected[name] for name in LAMBDA), rel=1e-4)  # equation 3


def test_caffe_train_reports_equation_3(pairs, tmp_path):
    _, lmdb = pairs
    (tmp_path / 'net.prototxt').write_text(net.train_val('s1r1', 3, lmdb, lmdb, batch_size=4, pixel_scale=PIXEL_SCALE))
    (tmp_path / 'solver.prototxt').write_text(net.solver(
        tmp_path / 'net.prototxt', tmp_path / 's1r1', max_iter=1, display=1, mode='CPU') + 'snapshot_after_train: false')
    log = subprocess.run(['caffe', 'train', '-solver', str(tmp_path / 'solver.prototxt')], stderr=subprocess.PIPE, check=True,
                         encoding='utf-8', env=dict(os.environ, GLOG_minloglevel='0', GLOG_logtostderr='1')).stderr
    total, = re.findall(r'\] Iteration 0 .*, loss = (\S+)', log)
    outputs = re.findall(r'Train net output #\d+: (\w+) = (\S+) \(\* (\S+) = ', log)
    assert {name: float(weight) for name, _, weight in outputs} == pytest.approx(LAMBDA)
    assert float(total) == pytest.approx(sum(LAMBDA[name] * float(value) for name, value, _ in outputs), rel=1e-5)
