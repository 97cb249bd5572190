"""Gradient reversal, by which an adversary trains in one network (Ganin and Lempitsky 2015, arXiv
1409.7495)."""
import caffe
import numpy as np

from layers import params


class Reverse(caffe.Layer):
    """The blob as it is forward; backward its gradient times -factor.

    bottom[0]: any shape. top[0]: the same. What lies behind learns to read the blob, and what lies
    before it learns to give nothing that can be read.

    param_str: factor (1), 0 or more; 0 lets no gradient through.
    """

    def setup(self, bottom, top):
        self.factor = params.read_params(self, factor=1.0)['factor']
        if not 0 <= self.factor < np.inf:
            raise ValueError(f'Reverse: factor must be 0 or more, not {self.factor}')

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            np.multiply(top[0].diff, -self.factor, out=bottom[0].diff)
