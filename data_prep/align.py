"""Face alignment: five points of a face are brought onto fixed places of a 66 x 66 grey crop."""
import cv2
import numpy as np

LONGEST = 2 ** 15 - 1  # side of a picture; OpenCV's coordinates have 16 bits
SIZE = 66  # the network takes 64 x 64 out of it

# Where the eye centres (left and right in the picture), the nose tip and the mouth corners go, in
# pixels of the crop, pixel centres at whole numbers. With the eyes 24 apart, brows lie about 9
# above the eyes (raised 14), the chin 43 below: the face fills the crop, and of an expression only
# a dropped jaw's chin leaves it.
TARGET = np.array([[20.5, 17.0], [44.5, 17.0], [32.5, 30.6], [22.1, 42.1], [42.9, 42.1]])


def five_points(landmarks):
    """Eye centres, nose tip and mouth corners, 5 x 2, from 68 x 2 landmarks in CK+'s order."""
    return np.array([landmarks[36:42].mean(0), landmarks[42:48].mean(0),
                     landmarks[30], landmarks[48], landmarks[54]])


def similarity(source, target):
    """The 2 x 3 matrix of the rotation, scaling and shift that bring points source (n x 2) nearest
    to target (n x 2) in the sense of least squares; ValueError where the source points coincide or
    no such map brings them anywhere near.

    With points as complex numbers such a map is z -> a z + b, and a, b have a closed form. A
    reflection is no part of it.
    """
    z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    z_centred, w_centred = z - z.mean(), w - w.mean()
    spread = (abs(z_centred) ** 2).sum()
    if spread < 1:  # in squared pixels
        raise ValueError('the five points of the face coincide')
    a = (z_centred.conj() * w_centred).sum() / spread
    b = w.mean() - a * z.mean()

    # The share of the target's shape that the map gives: 1 where the two shapes are the same.
    explained = abs(a) ** 2 * spread / (abs(w_centred) ** 2).sum()
    if explained < 0.25:
        raise ValueError('the five points are not laid out like those of a face')
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def placement(shape, points):
    """The 2 x 3 matrix that brings five points (5 x 2, pixels) of a picture of that shape (height,
    width) onto TARGET; ValueError where they lie outside of it or are not laid out like a face, or
    where the picture has a side of LONGEST or more."""
    if max(shape) >= LONGEST:
        raise ValueError(f'image has a side of {LONGEST:,} pixels or more: make it smaller')
    if (points < 0).any() or (points > [shape[1] - 1, shape[0] - 1]).any():
        raise ValueError('the five points of the face lie outside of the picture')
    return similarity(points, TARGET)


def crop(image, points):
    """The aligned face, 66 x 66 uint8, of a grey uint8 picture and its five points (5 x 2, pixels).

    ValueError as placement().
    """
    matrix = placement(image.shape, points)

    # Anti-aliasing. warpAffine looks at four source pixels for each of its own, so that shrinking,
    # here often to a quarter, would skip most of them. Hence the face is first warped at a whole
    # multiple of the crop's size, at which nothing shrinks, and then each block of pixels is
    # averaged into one.
    shrink = 1 / np.hypot(matrix[0, 0], matrix[1, 0])
    multiple = max(1, int(np.ceil(shrink - 1e-6)))  # rounding alone is no shrinking
    matrix = matrix * multiple
    matrix[:, 2] += (multiple - 1) / 2  # to the centre of a block, not to its first pixel
    large = cv2.warpAffine(image, matrix, (SIZE * multiple, SIZE * multiple),
                           flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
