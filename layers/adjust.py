"""Unequal classes in Cls: logit adjustment (Menon et al. 2021, arXiv 2007.07314, equation 10)."""
import caffe
import numpy as np

from layers import params


class Adjust(caffe.Layer):
    """Adds a number to all scores of a class, before the softmax of the loss.

    bottom[0]: scores, N x K. top[0]: the same shape. A test takes the scores as they are.

    param_str: offsets, a list of K numbers. With the logarithm of each class's frequency the
    network need not learn how frequent a class is, and its scores treat all classes alike.
    """

    def setup(self, bottom, top):
        offsets = params.read_params(self, offsets=[])['offsets']
        if not all(isinstance(offset, (int, float)) and not isinstance(offset, bool)
                   for offset in offsets):
            raise ValueError(f'Adjust: offsets must be numbers, not {offsets!r}')
        self.offsets = np.array(offsets, np.float32)

    def reshape(self, bottom, top):
        if bottom[0].data.shape[1:] != self.offsets.shape:
            raise ValueError(f'Adjust: {len(self.offsets)} offsets do not fit scores of shape '
                             f'{bottom[0].data.shape}')
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        np.add(bottom[0].data, self.offsets, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff
