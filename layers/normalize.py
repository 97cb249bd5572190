"""Codes of length 1, as in the paper's later revision (delta on normalised latent codes)."""
import caffe
import numpy as np

from layers import params


class Normalize(caffe.Layer):
    """Divides each sample by its L2 norm.

    bottom[0]: N x anything. top[0]: N x p, rows of length 1 (a row of zeros stays 0).

    param_str: epsilon, added to the squared norm (1e-12).
    """

    def setup(self, bottom, top):
        self.epsilon = params.read(self, epsilon=1e-12)['epsilon']

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].num, bottom[0].count // bottom[0].num)

    def forward(self, bottom, top):
        code = bottom[0].data.reshape(len(bottom[0].data), -1)
        self.norm = np.sqrt(np.einsum('np,np->n', code, code)[:, None] + self.epsilon)
        np.divide(code, self.norm, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        unit, gradient = top[0].data, top[0].diff
        along = np.einsum('np,np->n', unit, gradient)[:, None]
        bottom[0].diff[...] = ((gradient - unit * along) / self.norm).reshape(bottom[0].data.shape)
