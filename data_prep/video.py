"""Single frames of a video, as cv2 (FFmpeg) decodes it.

Of what calls itself a video only files that hold one are opened: no list of other files, which
FFmpeg would open and read, and no address. Frames are counted from 0 by decoding them in order: in
inter-coded video a seek by number may land beside it.
"""
import functools
import os
import re

import cv2

LARGEST = 2 ** 26  # of a frame; several are in memory at once

# The kinds of file, by FFmpeg's names, that may be opened. OpenCV reads it when it opens one.
KINDS = ('mov', 'matroska', 'avi', 'mpeg', 'mpegts', 'mpegvideo', 'm4v', 'asf', 'flv', 'ogg', 'mxf',
         'yuv4mpegpipe', 'gif', 'dv')
os.environ['OPENCV_FFMPEG_CAPTURE_OPTIONS'] = f'format_whitelist;{",".join(KINDS)}'

# By which a video is known whose first bytes say nothing.
ENDINGS = ('.3g2', '.3gp', '.asf', '.avi', '.divx', '.dv', '.flv', '.gif', '.m2ts', '.m4v', '.mkv',
           '.mov', '.mp4', '.mpe', '.mpeg', '.mpg', '.mts', '.mxf', '.ogv', '.qt', '.ts', '.vob',
           '.webm', '.wmv')

# The first bytes of AVI, MP4 and its kin, Matroska, MPEG (as a stream of packets of 188 bytes too,
# with a time before each or not), Windows Media, Flash, Ogg, MXF, and uncompressed YUV.
SIGNATURE = re.compile(
    rb'RIFF....AVI |....(?:ftyp|moov|mdat|wide|free|skip|pnot)|\x1aE\xdf\xa3|\0\0\x01[\xb0-\xbf]|'
    rb'G.{187}G.{187}G|.{4}G.{191}G.{191}G|0&\xb2u\x8ef\xcf\x11|FLV\x01|OggS|\x06\x0e\+4|'
    rb'YUV4MPEG2',
    re.DOTALL)


def frame(path, number, part=None):
    """Frame `number`, from 0, of a video: grey uint8, height x width.

    part: 'left' or 'right', that half of it; 'clockwise', turned by 90 degrees. The last video
    stays open, so that ascending numbers of one video cost one pass over it. ValueError where the
    video is missing or damaged, or ends before that frame.
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
    middle = image.shape[1] // 2
    if part == 'clockwise':
        return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    return image if part is None else image[:, :middle] if part == 'left' else image[:, middle:]


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
    that is no video, and each would complain. ValueError where it cannot be opened, or has frames
    of more than LARGEST."""
    if not os.path.isfile(path):
        raise ValueError('video is missing')
    # In full, or FFmpeg would take what stands before a colon for a protocol.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ValueError('video is damaged or not a video')
    size = [int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH,
                                                cv2.CAP_PROP_FRAME_HEIGHT)]
    if size[0] * size[1] > LARGEST:
        raise ValueError(f'video has frames of {size[0]} x {size[1]} pixels, more than the '
                         f'{LARGEST // 10 ** 6} million that are read: make it smaller')
    return capture
