"""Max unpooling by switches, the MaxUnPool of the paper's Table 1."""
import caffe
import numpy as np

from layers import params


class Unpool(caffe.Layer):
    """Puts every pooled value back where max pooling found it; all else is 0.

    bottom[0]: values, N x C x h x w.
    bottom[1]: switches, the same shape: the second top of Caffe's max Pooling, index y * W + x into the plane it pooled.
    top[0]: N x C x H x W with H = stride * h, W = stride * w.
    Windows overlap (5 x 5 and 3 x 3 at stride 2), so one place can be the maximum of several: there the values add up,
    which makes unpooling the exact transpose of the pooling that set the switches.

    param_str: stride of the pooling (2).
    """

    def setup(self, bottom, top):
        self.stride = params.read(self, stride=2)['stride']

    def reshape(self, bottom, top):
        if bottom[0].data.shape != bottom[1].data.shape:
            raise ValueError(f'Unpool: values {bottom[0].data.shape} and switches {bottom[1].data.shape} differ in shape')
        n, c, h, w = bottom[0].data.shape
        top[0].reshape(n, c, h * self.stride, w * self.stride)

    def forward(self, bottom, top):
        n, c, h, w = bottom[0].data.shape
        plane = h * w * self.stride ** 2
        first = np.arange(0, c * plane, plane)[:, None]  # index of each channel's first place
        # Where all of a window is NaN, Caffe's switch is -1: the NaN then goes to the first place, and on to the loss.
        self.places = np.maximum(bottom[1].data, 0).reshape(n, c, h * w).astype(np.intp) + first
        values, unpooled = bottom[0].data, top[0].data
        for i in range(n):  # a sample at a time: the sums stay in the processor's cache
            unpooled[i] = np.bincount(self.places[i].ravel(), values[i].ravel(), c * plane).reshape(unpooled[i].shape)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            above, below = top[0].diff, bottom[0].diff
            for i, places in enumerate(self.places):
                below[i] = above[i].ravel()[places].reshape(below[i].shape)
        if propagate_down[1]:
            bottom[1].diff[...] = 0  # an index has no gradient
