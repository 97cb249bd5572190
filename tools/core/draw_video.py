"""A video with its faces marked: `make predict DRAW=video`."""
import itertools
import math

import cv2
import numpy as np
from PIL import Image

from data_prep import video
from tools.core import draw_prediction, face_lines

CODEC = 'avc1'  # H.264, which browsers and telephones play
FALLBACK_RATE = 25  # frames a second, of a video that tells none


def draw(path, source, curve):
    """Writes the video `source` to path (.mp4), with what was told of each frame's Faces.

    curve: {number of a frame: its Faces}; a frame that was not looked at shows those of the one
    before. SystemExit where it cannot be written whole.
    """
    partial = path.with_name(f'.partial-{path.name}')
    capture = video.capture_of(source)
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if math.isfinite(rate) and 0 < rate <= 240 else FALLBACK_RATE
    writer, written, faces = None, 0, []

    try:
        for number in itertools.count():
            good, frame = capture.read()
            if not good:
                break
            faces = curve.get(number, faces)
            frame = annotate(frame, faces)
            if writer is None:  # its size is that of the padded frame
                writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG,
                                         cv2.VideoWriter_fourcc(*CODEC), rate, frame.shape[1::-1])
            writer.write(frame)
            written += 1

        if writer is not None:
            writer.release()  # closes the file, which only then is whole
        # OpenCV says nothing where the disk is full.
        try:
            whole = video.count(str(partial)) == written
        except ValueError:  # nothing of it can be read
            whole = False
        if not whole:
            raise SystemExit(f'{face_lines.shown(path)} cannot be written whole: make room, or '
                             'choose another OUT.')
        partial.replace(path)
    finally:
        capture.release()
        partial.unlink(missing_ok=True)


def annotate(frame, faces):
    """A frame (H x W x 3, BGR) with its Faces marked; of even height and width, for H.264."""
    frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), 'edge')
    picture = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    labels = [f'{number} {face.expression} {max(face.probabilities.values()):.0%}'
              for number, face in enumerate(faces, 1)]
    draw_prediction.outline(picture, faces, labels)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])
