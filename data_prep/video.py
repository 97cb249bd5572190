"""Single frames of a video, as cv2 (FFmpeg) decodes it.

Frames are counted from 0 by decoding them in order: in inter-coded video a seek by number may land
beside it.
"""
import functools
import os

import cv2


def frame(path, number, turned=False):
    """Frame `number`, from 0, of a video file: grey uint8, height x width; turned: by 90 degrees
    clockwise.

    The last video stays open, so that ascending numbers of one video cost one pass over it.
    ValueError where the video is missing or damaged, or ends before that frame.
    """
    if opened(path)['next'] > number:
        opened.cache_clear()  # back to frame 0
    video = opened(path)
    while video['next'] <= number:
        if not video['capture'].grab():
            raise ValueError(f'video ends early: {video["next"]} frames, frame {number} needed')
        video['next'] += 1
    good, image = video['capture'].retrieve()
    if not good:
        raise ValueError(f'video is damaged: frame {number}')
    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE) if turned else image


def count(path):
    """Number of frames that can be read, whatever the file's header says; ValueError as frame()."""
    capture, frames = capture_of(path), 0
    while capture.grab():
        frames += 1
    return frames


def height(path):
    """Height of the frames in pixels; ValueError as frame()."""
    return int(capture_of(path).get(cv2.CAP_PROP_FRAME_HEIGHT))


@functools.lru_cache(maxsize=1)
def opened(path):
    """{'capture': the open video, 'next': number of the frame that is read next}."""
    return {'capture': capture_of(path), 'next': 0}


# A forked process would share the open file's position, and FFmpeg's threads would be missing from
# it.
os.register_at_fork(before=opened.cache_clear)


def capture_of(path):
    """The video opened, at frame 0, by FFmpeg alone: OpenCV would try its other readers on a file
    that is no video, and each would complain. ValueError where it cannot be opened."""
    if not os.path.isfile(path):
        raise ValueError('video is missing')
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ValueError('video is damaged or not a video')
    return capture
