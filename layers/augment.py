"""Augmentation of the pair (query, reference), section 4.1 of the paper."""
import caffe
import cv2
import numpy as np

from layers import params


class Augment(caffe.Layer):
    """Cuts 64 x 64 out of the 66 x 66 pair; in training at random, turned, scaled and flipped.

    bottom[0]: N x 2 x 66 x 66, the pair (X, Xr), values 0..255.
    top[0], top[1]: query X and reference Xr, N x 1 x 64 x 64, values in [0, 1].
    top[2]: N, 0 where a sample has no reference (all of Xr is 0), else sqrt(N / samples that have
    one): a loss of squared differences multiplied by it, averaged over N, is averaged over the
    samples with a reference.

    Both images of a pair get the same transform: an encoder cannot undo a flip that it never saw.
    The test phase takes the centre and changes nothing else.

    param_str: crop (pixels), rotate (degrees, +-), scale (relative, +-), intensity (relative, +-),
    flip (probability), seed.
    """

    def setup(self, bottom, top):
        self.settings = params.read_params(self, crop=64, rotate=10.0, scale=0.1, intensity=0.2,
                                           flip=0.5, seed=1)
        self.random = np.random.RandomState(self.settings['seed'])
        if bottom[0].channels != 2:
            raise ValueError(f'Augment takes pairs: 2 channels, not {bottom[0].channels}')
        if not 0 < self.settings['crop'] <= min(bottom[0].height, bottom[0].width):
            raise ValueError(f'Augment: crop {self.settings["crop"]} does not fit the image')

    def reshape(self, bottom, top):
        size = self.settings['crop']
        for i in range(2):  # the blobs cannot be iterated
            top[i].reshape(bottom[0].num, 1, size, size)
        top[2].reshape(bottom[0].num)

    def forward(self, bottom, top):
        size = self.settings['crop']
        margin = np.array([bottom[0].width - size, bottom[0].height - size])
        query, reference, pairs = top[0].data, top[1].data, bottom[0].data

        # EuclideanLoss sums squares and divides by N: the square of this weight takes N out of it.
        referred = pairs[:, 1].any(axis=(1, 2))
        top[2].data[...] = referred * np.sqrt(len(referred) / max(1, referred.sum()))

        if self.phase == caffe.TEST:
            x, y = margin // 2
            centre = pairs[:, :, y:y + size, x:x + size] / 255
            query[:, 0], reference[:, 0] = centre[:, 0], centre[:, 1]
            return

        # An image a transform, with its two channels: so X and Xr cannot get different ones.
        for i, pair in enumerate(pairs):
            matrix, gain = self.draw(size, margin)
            warped = cv2.warpAffine(pair.transpose(1, 2, 0), matrix, (size, size),
                                    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                    borderMode=cv2.BORDER_REPLICATE)
            np.minimum(warped * (gain / 255), 1, out=warped)
            query[i, 0], reference[i, 0] = warped[..., 0], warped[..., 1]

    def draw(self, size, margin):
        """A random 2 x 3 matrix from crop pixels to image pixels, and an intensity gain."""
        s = self.settings
        angle = np.radians(self.random.uniform(-s['rotate'], s['rotate']))
        zoom = 1 + self.random.uniform(-s['scale'], s['scale'])
        gain = 1 + self.random.uniform(-s['intensity'], s['intensity'])
        corner = self.random.randint(margin + 1)  # x and y
        mirror = -1 if self.random.rand() < s['flip'] else 1

        # About the middle of the crop, so that what turns and grows stays in it.
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        turn = turn @ np.diag([mirror, 1])
        centre = np.full(2, (size - 1) / 2)
        return np.column_stack([turn, corner + centre - turn @ centre]), gain

    def backward(self, top, propagate_down, bottom):
        pass  # images have no gradient
