"""What docker/patches change of Caffe's layers, against scipy and numpy in double: in every build,
so that what the compiled ones give is what the packaged one gives."""
import os
import subprocess
import sys

import caffe
import numpy as np
import places
import pytest
from caffe import layers as L
from caffe import params as P
from scipy import signal

from prototxt.net import python
from tools.core import caffe_process

RANDOM = np.random.RandomState(0)


def build(spec, path, phase=caffe.TRAIN):
    path = path / 'net.prototxt'
    path.write_text(f'force_backward: true\n{spec.to_proto()}')
    return caffe.Net(str(path), phase)


def with_input(*shape):
    n = caffe.NetSpec()
    n.x = L.Input(shape=dict(dim=list(shape)))
    return n


def run(net, x, gradient, top='y'):
    """A pass there and back: the top, and the gradient of x."""
    net.blobs['x'].data[...] = x
    net.clear_param_diffs()
    net.forward()
    net.blobs[top].diff[...] = gradient
    y = net.blobs[top].data.copy()
    net.backward()
    return y, net.blobs['x'].diff.copy()


def assert_alike(ours, expected, tolerance=1e-5):
    """Within a tolerance of the largest value."""
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# Channels in and out, height and width, kernel: those of the networks, each with few pictures; then
# widths, numbers of channels and kernels that vectors do not fit.
SHAPES = [(1, 32, 64, 64, 5), (32, 64, 32, 32, 3), (64, 96, 16, 16, 3), (96, 32, 16, 16, 3),
          (64, 1, 64, 64, 5), (3, 7, 8, 16, 3), (19, 37, 16, 16, 5), (17, 1, 6, 64, 3),
          (32, 32, 12, 20, 3), (32, 32, 5, 64, 5), (32, 32, 16, 48, 3), (32, 8, 16, 16, 1),
          (16, 16, 4, 128, 3)]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('kind', ['Convolution', 'Deconvolution'])
def test_convolution_and_deconvolution_are_scipys(kind, bias, shape, tmp_path):
    inputs, outputs, height, width, kernel = shape
    n = with_input(2, inputs, height, width)
    param = dict(num_output=outputs, kernel_size=kernel, pad=kernel // 2, bias_term=bias)
    turned = kind == 'Deconvolution'
    n.y = getattr(L, kind)(n.x, **(dict(convolution_param=param) if turned else param))
    net = build(n, tmp_path)
    weights = RANDOM.randn(*net.params['y'][0].data.shape)
    net.params['y'][0].data[...] = weights
    added = RANDOM.randn(outputs) if bias else np.zeros(outputs)
    if bias:
        net.params['y'][1].data[...] = added
    x = RANDOM.randn(2, inputs, height, width)
    gradient = RANDOM.randn(2, outputs, height, width)
    y, x_gradient = run(net, x, gradient)

    # A deconvolution is what a convolution's gradient is: [inputs][outputs], turned by half.
    by_output = weights.swapaxes(0, 1)[:, :, ::-1, ::-1] if turned else weights
    some = [(0, 0, 0), (1, outputs - 1, inputs - 1), (1, outputs // 2, inputs // 3)]
    for i, o, c in some:
        expected = sum(signal.correlate2d(x[i, k], by_output[o, k], 'same') for k in range(inputs))
        assert_alike(y[i, o], expected + added[o])
        expected = sum(signal.convolve2d(gradient[i, k], by_output[k, c], 'same')
                       for k in range(outputs))
        assert_alike(x_gradient[i, c], expected)
        edge = kernel // 2
        expected = sum(signal.correlate2d(np.pad(x[k, c], edge), gradient[k, o], 'valid')
                       for k in range(2))
        found = net.params['y'][0].diff
        found = found[c, o, ::-1, ::-1] if turned else found[o, c]
        assert_alike(found, expected)
    if bias:
        assert_alike(net.params['y'][1].diff, gradient.sum(axis=(0, 2, 3)))


def test_the_gradient_of_weights_is_added(tmp_path):
    n = with_input(2, 16, 16, 16)
    n.y = L.Convolution(n.x, num_output=32, kernel_size=3, pad=1, bias_term=False,
                        weight_filler=dict(type='msra'))
    net = build(n, tmp_path)
    run(net, RANDOM.randn(2, 16, 16, 16), RANDOM.randn(2, 32, 16, 16))
    once = net.params['y'][0].diff.copy()
    net.backward()
    assert_alike(net.params['y'][0].diff, 2 * once)


def norm(x, shape):
    """Of batch norm in double: the values of length 1, and how each is made from x."""
    axes = tuple(i for i in range(len(shape)) if i != 1)
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5), mean, variance, axes


@pytest.mark.parametrize('in_place', [True, False])
@pytest.mark.parametrize('relu', [True, False])
@pytest.mark.parametrize('scale', [True, False])
@pytest.mark.parametrize('shape', [(3, 5, 7, 11), (4, 3, 16, 16), (6, 4), (4, 3, 1, 1)], ids=str)
def test_batch_norm_scale_and_relu_are_numpys(shape, scale, relu, in_place, tmp_path):
    n = with_input(*shape)
    n.power = L.Power(n.x)  # so that x keeps its values
    n.norm = L.BatchNorm(n.power, in_place=in_place, moving_average_fraction=0.95)
    last = n.norm
    if scale:
        last = n.scale = L.Scale(last, in_place=in_place, bias_term=True)
    if relu:
        last = n.relu = L.ReLU(last, in_place=in_place)
    n.y = L.Power(last)
    net = build(n, tmp_path)
    gain, offset = np.ones(shape[1]), np.zeros(shape[1])
    if scale:
        gain, offset = 1 + 0.5 * RANDOM.randn(shape[1]), RANDOM.randn(shape[1])
        net.params['scale'][0].data[...], net.params['scale'][1].data[...] = gain, offset
    x, gradient = 3 + 2 * RANDOM.randn(*shape), RANDOM.randn(*shape)
    y, x_gradient = run(net, x, gradient)

    wide = (1, -1) + (1,) * (len(shape) - 2)
    normal, mean, variance, axes = norm(x, shape)
    scaled = normal * gain.reshape(wide) + offset.reshape(wide)
    passed = gradient * (scaled > 0) if relu else gradient
    assert_alike(y, np.maximum(scaled, 0) if relu else scaled)
    below = passed * gain.reshape(wide)
    expected = (below - below.mean(axis=axes, keepdims=True)
                - normal * (below * normal).mean(axis=axes, keepdims=True))
    assert_alike(x_gradient, expected / np.sqrt(variance + 1e-5), 2e-5)
    if scale:
        assert_alike(net.params['scale'][0].diff, (passed * normal).sum(axis=axes), 2e-5)
        assert_alike(net.params['scale'][1].diff, passed.sum(axis=axes), 2e-5)

    count = x.size / shape[1]
    averages = net.params['norm']
    assert_alike(averages[0].data, mean.ravel())
    assert_alike(averages[1].data, variance.ravel() * count / (count - 1))
    assert averages[2].data[0] == 1


@pytest.mark.parametrize('in_place', [True, False])
def test_in_a_test_batch_norm_takes_the_averages(in_place, tmp_path):
    n = with_input(2, 3, 4, 16)
    n.power = L.Power(n.x)
    n.norm = L.BatchNorm(n.power, in_place=in_place)
    n.scale = L.Scale(n.norm, in_place=in_place, bias_term=True)
    n.relu = L.ReLU(n.scale, in_place=in_place)
    n.y = L.Power(n.relu)
    net = build(n, tmp_path, caffe.TEST)
    mean, variance, gain, offset = RANDOM.rand(4, 3) + 0.5
    for blob, values in zip((*net.params['norm'], *net.params['scale']),
                            (20 * mean, 20 * variance, 20, gain, offset)):
        blob.data[...] = values
    x, gradient = RANDOM.randn(2, 3, 4, 16), RANDOM.randn(2, 3, 4, 16)
    y, x_gradient = run(net, x, gradient)
    across = (1, 3, 1, 1)
    factor = (gain / np.sqrt(variance + 1e-5)).reshape(across)
    scaled = (x - mean.reshape(across)) * factor + offset.reshape(across)
    assert_alike(y, np.maximum(scaled, 0))
    assert_alike(x_gradient, gradient * (scaled > 0) * factor)


def test_a_negative_slope_is_left_to_relu(tmp_path):
    n = with_input(2, 3, 4, 16)
    n.norm = L.BatchNorm(n.x)
    n.scale = L.Scale(n.norm, in_place=True, bias_term=True)
    n.relu = L.ReLU(n.scale, in_place=True, negative_slope=0.5)
    n.y = L.Power(n.relu)
    x = RANDOM.randn(2, 3, 4, 16)
    y, _ = run(build(n, tmp_path), x, x)
    normal = norm(x, x.shape)[0]
    assert_alike(y, np.where(normal > 0, normal, normal / 2))


TRAIN = '''
import sys, caffe, numpy as np
caffe.set_random_seed(1)
net = caffe.Net(sys.argv[1], caffe.TRAIN)
random = np.random.RandomState(1)
net.blobs['x'].data[...] = random.randn(*net.blobs['x'].data.shape)
net.forward()
net.blobs['y'].diff[...] = random.randn(*net.blobs['y'].data.shape)
net.backward()
np.savez(sys.argv[2], *[blob.diff for blobs in net.params.values() for blob in blobs],
         *[array for blob in net.blobs.values() for array in (blob.data, blob.diff)])
'''


def test_results_are_the_same_to_the_last_bit_whatever_the_threads(tmp_path):
    n = with_input(5, 1, 64, 64)
    n.conv1 = L.Convolution(n.x, num_output=32, kernel_size=5, pad=2, bias_term=False,
                            weight_filler=dict(type='msra'))
    n.norm = L.BatchNorm(n.conv1, in_place=True)
    n.scale = L.Scale(n.norm, in_place=True, bias_term=True)
    n.relu = L.ReLU(n.scale, in_place=True)
    n.pool, n.switch = L.Pooling(n.relu, pool=P.Pooling.MAX, kernel_size=5, stride=2, pad=1, ntop=2)
    n.conv2 = L.Convolution(n.pool, num_output=96, kernel_size=3, pad=1, bias_term=False,
                            weight_filler=dict(type='msra'))
    n.deconv = L.Deconvolution(n.conv2, convolution_param=dict(
        num_output=32, kernel_size=3, pad=1, weight_filler=dict(type='msra')))
    n.unpool = python('unpool', 'Unpool', n.deconv, n.switch, stride=2,
                      propagate_down=[True, False])
    n.y = L.Deconvolution(n.unpool, convolution_param=dict(
        num_output=1, kernel_size=5, pad=2, weight_filler=dict(type='msra')))
    path = tmp_path / 'net.prototxt'
    path.write_text(f'force_backward: true\n{n.to_proto()}')
    found = []
    for threads in '1', '2', '3', '1':
        out = tmp_path / f'{len(found)}.npz'
        subprocess.run([sys.executable, '-c', TRAIN, path, out], cwd=places.ROOT, check=True,
                       env={**os.environ, 'OMP_NUM_THREADS': threads})
        found.append(np.load(out))
    assert len(found[0].files) > 15
    for other in found[1:]:
        for name in found[0].files:
            np.testing.assert_array_equal(other[name], found[0][name])


def test_a_run_alone_may_use_all_cores_and_is_told_how_many(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    assert caffe_process.environment()['OMP_NUM_THREADS'] == str(len(os.sched_getaffinity(0)))
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert caffe_process.environment()['OMP_NUM_THREADS'] == '3'
