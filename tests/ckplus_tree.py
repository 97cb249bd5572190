"""Makes a small set in CK+'s layout for the tests: pictures of soft noise, each with the 68
landmarks of a face that is turned, scaled and shifted."""
import os

import cv2
import numpy as np

HEIGHT, WIDTH = 240, 320


def face(angle=0.0, scale=1.0, shift=(0.0, 0.0)):
    """68 x 2 landmarks of a face around the middle of the picture; only the five points are well
    placed."""
    points = np.random.RandomState(0).uniform(-40, 40, (68, 2))
    around = np.array([[-4, 0], [-2, -2], [2, -2], [4, 0], [2, 2], [-2, 2]])
    points[36:42] = around + [-25, -20]
    points[42:48] = around + [25, -20]
    points[30], points[48], points[54] = [0, 8], [-18, 33], [18, 33]
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + [WIDTH / 2, HEIGHT / 2] + shift


def add_sequence(root, subject, sequence, label, length=5, colour=False):
    """One sequence: images and landmarks of frames 1..length, an emotion file where label is not
    None."""
    rng = np.random.RandomState([int(subject[1:]), int(sequence)])
    for frame in range(1, length + 1):
        name = f'{subject}_{sequence}_{frame:08d}'
        image = rng.randint(0, 256, (HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH)).astype(
            np.uint8)
        image = cv2.GaussianBlur(image, (0, 0), 4)
        landmarks = face(rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.2), rng.uniform(-20, 20, 2))
        cv2.imwrite(path(root, 'cohn-kanade-images', subject, sequence, name + '.png'), image)
        np.savetxt(path(root, 'Landmarks', subject, sequence, name + '_landmarks.txt'), landmarks,
                   '   %.7e')
    emotion = path(root, 'Emotion', subject, sequence,
                   f'{subject}_{sequence}_{length:08d}_emotion.txt')
    if label is not None:
        with open(emotion, 'w') as file:
            file.write(f'   {label:.7e}\n')


def path(root, *parts):
    """The path of a file of the tree; its folder is made."""
    os.makedirs(os.path.join(root, *parts[:-1]), exist_ok=True)
    return os.path.join(root, *parts)


def make(root, people=11):
    """A set of `people` persons, two labelled sequences each (labels 1..7 in turn) and one
    unlabelled for the first. Returns the root as str."""
    root = str(root)
    for person in range(people):
        add_sequence(root, f'S{person * 7 + 5:03d}', '001', 1 + person % 7)
        add_sequence(root, f'S{person * 7 + 5:03d}', '002', 1 + (person + 3) % 7,
                     colour=person == 2)
    add_sequence(root, 'S005', '003', None)
    return root
