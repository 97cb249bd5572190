"""Draws faces for the tests, by the demo's own program."""
from types import SimpleNamespace

import cv2
import numpy as np

from data_prep.align import five_points
from data_prep.drawn import demo_faces
from data_prep.drawn.draw_face import draw_face

LIGHT = SimpleNamespace(side=0.4, height=0.4, ambient=0.6, background=120, gain=1, blur=0.7,
                        noise=2)


def face(person, number=1):
    """(256 x 208 grey picture, its five points) of a person, neutral, in pose `number`."""
    who = demo_faces.random_identity(np.random.default_rng(person))
    rng = np.random.default_rng([person, number])
    pose = demo_faces.random_poses(2, rng)[0]
    image, landmarks = draw_face(who, np.zeros((28, 2)), pose, LIGHT, np.zeros(2), rng)
    return image, five_points(landmarks)


def write(path, image):
    """Writes a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
