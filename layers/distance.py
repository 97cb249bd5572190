"""Element-wise distance of two codes, equation 2 of the paper."""
import caffe
import numpy as np

from layers import params, shapes


class Distance(caffe.Layer):
    """delta = |En(X) - En(X^r)|, element by element.

    bottom[0], bottom[1]: codes of one shape. top[0]: the same shape. The gradient at equal elements
    is 0. No param_str.
    """

    def setup(self, bottom, top):
        params.read_params(self)

    def reshape(self, bottom, top):
        shapes.check_alike(self, bottom, 'codes')
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        np.subtract(bottom[0].data, bottom[1].data, out=top[0].data)
        self.sign = np.sign(top[0].data)  # before the top loses it
        np.abs(top[0].data, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        gradient = self.sign * top[0].diff
        if propagate_down[0]:
            bottom[0].diff[...] = gradient
        if propagate_down[1]:
            bottom[1].diff[...] = -gradient
