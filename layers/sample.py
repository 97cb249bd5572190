"""Sampling of a variational auto-encoder's latent code (Kingma and Welling 2014, section 2.4)."""
import caffe
import numpy as np

from layers import params, shapes


class Sample(caffe.Layer):
    """z = mean + exp(log_variance / 2) * e, e normal at random; in the test phase the mean.

    bottom[0]: mean, N x anything. bottom[1]: log_variance, the same shape. top[0]: z, the same.

    param_str: seed (1).
    """

    def setup(self, bottom, top):
        self.random = np.random.RandomState(params.read_params(self, seed=1)['seed'])

    def reshape(self, bottom, top):
        shapes.check_alike(self, bottom, 'means', 'log variances')
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.noise = 0
        if self.phase == caffe.TRAIN:
            deviation = np.exp(bottom[1].data / 2)
            self.noise = deviation * self.random.standard_normal(deviation.shape)
        top[0].data[...] = bottom[0].data + self.noise

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff
        if propagate_down[1]:  # d exp(v / 2) e / dv is half of it
            bottom[1].diff[...] = top[0].diff * self.noise / 2
