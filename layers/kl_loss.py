"""How far a latent code is from normal (Kingma and Welling 2014, appendix B)."""
import caffe
import numpy as np

from layers import params, shapes


class KLLoss(caffe.Layer):
    """KL = 1/2 sum(mean^2 + exp(log_variance) - log_variance - 1), averaged over the batch: the
    Kullback-Leibler divergence of N(mean, variance) from N(0, 1), summed over the dimensions.

    bottom[0]: mean, N x anything. bottom[1]: log_variance, the same shape. top[0]: the loss, one
    number. No param_str.
    """

    def setup(self, bottom, top):
        params.read_params(self)

    def reshape(self, bottom, top):
        shapes.check_alike(self, bottom, 'means', 'log variances')
        top[0].reshape()

    def forward(self, bottom, top):
        mean, log_variance = bottom[0].data, bottom[1].data
        each = mean ** 2 + np.exp(log_variance) - log_variance - 1
        top[0].data[...] = each.sum() / 2 / len(mean)

    def backward(self, top, propagate_down, bottom):
        scale = top[0].diff / len(bottom[0].data)
        if propagate_down[0]:
            bottom[0].diff[...] = scale * bottom[0].data
        if propagate_down[1]:
            bottom[1].diff[...] = scale * (np.exp(bottom[1].data) - 1) / 2
