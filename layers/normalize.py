"""Codes of length 1, as in the paper's later revision (delta on normalised latent codes)."""
import caffe
import numpy as np

from layers import params


class Normalize(caffe.Layer):
    """Divides each sample by its L2 norm.

    bottom[0]: N x anything. top[0]: the same shape, each sample of length 1 (one of zeros stays 0).

    param_str: epsilon, added to the squared norm (1e-12).
    """

    def setup(self, bottom, top):
        self.epsilon = params.read(self, epsilon=1e-12)['epsilon']

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        code = rows(bottom[0].data)
        self.norm = np.sqrt(np.einsum('np,np->n', code, code)[:, None] + self.epsilon)
        np.divide(code, self.norm, out=rows(top[0].data))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            unit, gradient = rows(top[0].data), rows(top[0].diff)
            along = np.einsum('np,np->n', unit, gradient)[:, None]
            rows(bottom[0].diff)[...] = (gradient - unit * along) / self.norm


def rows(blob):
    """A view of a blob as a matrix, a row a sample."""
    return blob.reshape(len(blob), -1)
