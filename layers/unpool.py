"""Max unpooling by switches, the MaxUnPool of the paper's Table 1."""
import caffe
import numpy as np

from layers import params, shapes


class Unpool(caffe.Layer):
    """Puts every pooled value back where max pooling found it; all else is 0.

    bottom[0]: values, N x C x h x w.
    bottom[1]: switches, the same shape: the second top of Caffe's max Pooling, index y * W + x into
    the plane it pooled.
    top[0]: N x C x H x W with H = stride * h, W = stride * w. Windows overlap (5 x 5 and 3 x 3 at
    stride 2), so one place can be the maximum of several: there the values add up, which makes
    unpooling the exact transpose of the pooling that set the switches.

    param_str: stride of the pooling (2).
    """

    def setup(self, bottom, top):
        self.stride = params.read_params(self, stride=2)['stride']

    def reshape(self, bottom, top):
        shapes.check_alike(self, bottom, 'values', 'switches')
        n, c, h, w = bottom[0].data.shape
        top[0].reshape(n, c, h * self.stride, w * self.stride)

    def forward(self, bottom, top):
        for i, (values, unpooled) in enumerate(zip(bottom[0].data, top[0].data)):
            # bincount adds up what falls on one place; unpooled[places] = values keeps the last
            unpooled[...] = np.bincount(self.places(bottom[1], i), values.ravel(),
                                        unpooled.size).reshape(unpooled.shape)

    def places(self, switches, i):
        """Where each value of sample i goes, as indices into its top."""
        # A sample at a time: they and the sums stay in the processor's cache. Kept for the whole
        # batch they would take more memory than the values.
        c, h, w = switches.data.shape[1:]
        plane = h * w * self.stride ** 2
        # Where all of a window is NaN, Caffe's switch is -1: the NaN then goes to the first place,
        # and on to the loss.
        within = np.maximum(switches.data[i].reshape(c, h * w), 0)
        return (within.astype(np.intp) + np.arange(0, c * plane, plane)[:, None]).ravel()

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            for i, (above, below) in enumerate(zip(top[0].diff, bottom[0].diff)):
                below[...] = above.ravel()[self.places(bottom[1], i)].reshape(below.shape)
        if propagate_down[1]:
            bottom[1].diff[...] = 0  # an index has no gradient
