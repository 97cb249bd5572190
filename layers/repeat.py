"""Unpooling without switches: each value is repeated."""
import caffe
import cv2
import numpy as np

from layers import params


class Repeat(caffe.Layer):
    """Puts each value in stride x stride places.

    bottom[0]: N x C x h x w. top[0]: N x C x H x W with H = stride * h, W = stride * w. Caffe's own
    way, a grouped deconvolution, takes ten times as long as all of the decoder's other layers.

    param_str: stride (2).
    """

    def setup(self, bottom, top):
        self.stride = params.read_params(self, stride=2)['stride']

    def reshape(self, bottom, top):
        n, c, h, w = bottom[0].data.shape
        top[0].reshape(n, c, h * self.stride, w * self.stride)

    def forward(self, bottom, top):
        # A sample's channels one below the other are one picture, which OpenCV enlarges at once.
        for values, repeated in zip(bottom[0].data, top[0].data):
            c, h, w = repeated.shape
            cv2.resize(values.reshape(-1, values.shape[-1]), (w, c * h), repeated.reshape(c * h, w),
                       interpolation=cv2.INTER_NEAREST)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            for above, below in zip(top[0].diff, bottom[0].diff):
                c, h, w = below.shape
                # The sum over the places of a value: the mean of that block, times its size.
                mean = cv2.resize(above.reshape(-1, above.shape[-1]), (w, c * h),
                                  interpolation=cv2.INTER_AREA)
                np.multiply(mean.reshape(below.shape), self.stride ** 2, out=below)
