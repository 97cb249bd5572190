"""Pictures by their path in a data set: a file; or `clip.avi#31`, frame 31 of a video,
`clip.avi#31@clockwise`, the same turned by 90 degrees; or `fer2013.csv#12`, line 12 of a CSV of
pixels."""
import os
import re

import cv2
import numpy as np

from data_prep import video
from data_prep.sets import fer2013

INSIDE = re.compile(r'(.+\.(?:avi|csv))#(\d+)(@clockwise)?')
JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG'


def read_grey(raw, path):
    """The picture at `path` in folder raw, grey uint8, height x width; ValueError where it is
    missing or damaged."""
    inside = INSIDE.fullmatch(path)
    if inside is None:
        return decode(read_bytes(os.path.join(raw, path)))
    file, number, turned = os.path.join(raw, inside.group(1)), int(inside.group(2)), bool(
        inside.group(3))
    return video.frame(file, number, turned) if file.endswith('.avi') else fer2013.picture(
        file, number)


def size(raw, path):
    """Bytes of the file that a picture is in, None where it is not there."""
    inside = INSIDE.fullmatch(path)
    try:
        return os.path.getsize(os.path.join(raw, inside.group(1) if inside else path))
    except OSError:
        return None


def read_bytes(path):
    """The content of a picture file; ValueError where it cannot be read."""
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise ValueError(f'image cannot be read ({error.strerror})') from None


def decode(data, flags=cv2.IMREAD_GRAYSCALE):
    """The bytes of a picture file as a picture, by cv2.imdecode; ValueError where they are none, or
    cut short.

    OpenCV fills up with grey what a file that was cut short does not hold: so the end is looked
    for, which in a JPEG may be followed by a little padding.
    """
    end = {JPEG: b'\xff\xd9', PNG: b'IEND'}.get(next(filter(data.startswith, (JPEG, PNG)), None),
                                                b'')
    if end not in data[-1024:]:
        raise ValueError('image is cut short')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # more than 2^30 pixels, say
        image = None
    if image is None:
        raise ValueError('image is damaged or not an image')
    return image
