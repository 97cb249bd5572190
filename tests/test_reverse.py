"""Gradient reversal: against a numerical gradient, and an adversary against numpy's own descent."""
import caffe
import numpy as np
import pytest
import test_layers
from caffe import layers as L

from prototxt.parts import python

RANDOM = np.random.RandomState(3)


def reversed_net(tmp_path, **param):
    n = test_layers.inputs(caffe.NetSpec(), a=(3, 2, 2, 2))
    n.top = python('reverse', 'Reverse', n.a, **param)
    made = test_layers.build(n, tmp_path)
    test_layers.fill(made, a=RANDOM.randn(3, 2, 2, 2))
    return made


@pytest.mark.parametrize('factor', [0, 1, 0.25])
def test_forward_is_the_blob_and_backward_minus_factor_times_the_gradient(tmp_path, factor):
    made = reversed_net(tmp_path, factor=factor)
    made.forward()
    np.testing.assert_array_equal(made.blobs['top'].data, made.blobs['a'].data)
    above = RANDOM.randn(3, 2, 2, 2).astype(np.float32)
    made.blobs['top'].diff[...] = above
    made.backward()
    np.testing.assert_allclose(made.blobs['a'].diff, -factor * above, rtol=1e-6)


@pytest.mark.parametrize('factor', [1, 0.5])
def test_what_lies_before_it_gets_the_numerical_gradient_of_minus_the_loss(tmp_path, factor):
    """A cross entropy behind a linear layer: those before the reversal see it times -factor, those
    behind it as it is."""
    n = test_layers.inputs(caffe.NetSpec(), a=(4, 3), label=(4,))
    n.code = L.InnerProduct(n.a, num_output=5, weight_filler=dict(type='xavier'))
    n.back = python('reverse', 'Reverse', n.code, factor=factor)
    n.score = L.InnerProduct(n.back, num_output=3, weight_filler=dict(type='xavier'))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    made = test_layers.build(n, tmp_path)
    test_layers.fill(made, a=RANDOM.randn(4, 3), label=[0, 1, 2, 1])
    made.forward()
    made.backward()
    for layer, sign in (('code', -factor), ('score', 1)):
        weights, found = made.params[layer][0].data, made.params[layer][0].diff.copy()
        for i in np.ndindex(*weights.shape):
            kept = weights[i]
            above, below = [], []
            for change, losses in ((1e-2, above), (-1e-2, below)):
                weights[i] = kept + change
                losses.append(float(made.forward()['loss']))
            weights[i] = kept
            slope = (above[0] - below[0]) / 2e-2
            assert found[i] == pytest.approx(sign * slope, abs=2e-3)


@pytest.mark.parametrize('factor', [-1, 'much'])
def test_a_factor_below_0_or_no_number_is_refused(tmp_path, factor):
    with pytest.raises(ValueError, match='factor'):
        reversed_net(tmp_path, factor=factor)
