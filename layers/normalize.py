"""Codes of length 1, as in the paper's later revision (delta on normalised latent codes)."""
import caffe
import numpy as np

from layers import params


class Normalize(caffe.Layer):
    """Brings each sample to one L2 norm.

    bottom[0]: N x anything. top[0]: the same shape, each sample of that length (one of zeros stays
    0).

    param_str: length (1); epsilon, added to the squared norm (1e-12).
    """

    def setup(self, bottom, top):
        settings = params.read_params(self, length=1.0, epsilon=1e-12)
        self.length, self.epsilon = settings['length'], settings['epsilon']
        if self.length <= 0:
            raise ValueError(f'Normalize: length must be above 0, not {self.length}')

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        code = rows(bottom[0].data)
        norm = np.sqrt(np.einsum('np,np->n', code, code)[:, None] + self.epsilon)
        self.norm = norm / self.length  # what a sample is divided by
        np.divide(code, self.norm, out=rows(top[0].data))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            # The length is fixed, so only what is at right angles to the code moves it.
            unit, gradient = rows(top[0].data) / self.length, rows(top[0].diff)
            along = np.einsum('np,np->n', unit, gradient)[:, None]
            rows(bottom[0].diff)[...] = (gradient - unit * along) / self.norm


def rows(blob):
    """A view of a blob as a matrix, a row a sample."""
    return blob.reshape(len(blob), -1)
