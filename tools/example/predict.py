"""The expression of a face, and the same face drawn without one, by model.onnx beside this file.
Needs numpy, opencv-python and onnxruntime, nothing else.

    python3 predict.py photo.jpg 163 209 224 203 194 243 172 266 229 261

The numbers are five points of the face, x and y in pixels of the photograph: left and right eye as
seen in it, tip of the nose, left and right corner of the mouth. A face detector gives them, and
none is in here. Without numbers the picture is taken for a face that is cropped already.

Prints the probabilities, the means of those of the face and of its mirror image. A model that draws
writes reference.png: the face as seen, the one drawn of it, and three times the difference.
"""
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


def crop(image, points, target, size):
    """The face, size x size, of a grey picture: its points, 5 x 2, are brought onto the target."""
    z, w = (p[:, 0] + 1j * p[:, 1] for p in (points, target))
    a = np.vdot(z - z.mean(), w - w.mean()) / (abs(z - z.mean()) ** 2).sum()
    # shrunk by averaging: a warp alone would skip pixels
    b, times = w.mean() - a * z.mean(), max(1, int(np.ceil(1 / abs(a) - 1e-6)))
    matrix = times * np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    matrix[:, 2] += (times - 1) / 2  # to the centre of a block of times x times pixels
    large = cv2.warpAffine(image, matrix, (size * times, size * times),
                           borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def main(picture, *numbers):
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name('model.onnx')),
                                           providers=['CPUExecutionProvider'])
    kept = session.get_modelmeta().custom_metadata_map
    about = {key: json.loads(kept[key]) for key in ('classes', 'crop', 'centre', 'target')}
    face, size = cv2.imread(picture), about['crop']
    if face is None or len(numbers) not in (0, 10) or not numbers and face.shape[:2] != (size,) * 2:
        sys.exit(f'Give a picture and ten numbers, or a face of {size} x {size} pixels alone.')
    face = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    if numbers:
        face = crop(face, np.array(numbers, float).reshape(5, 2), np.array(about['target']), size)
    edge, end = (size - about['centre']) // 2, (size + about['centre']) // 2
    query = np.stack([face, np.fliplr(face)])[:, None, edge:end, edge:end].astype(np.float32) / 255
    names = [each.name for each in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {'query': query})))
    for probability, name in sorted(zip(outputs['prob'].mean(0), about['classes']), reverse=True):
        print(f'{name} {probability:.6f}')
    if 'generated' in outputs:
        seen, drawn = query[0, 0], outputs['generated'][0, 0].clip(0, 1)
        row = np.hstack([seen, drawn, (3 * abs(seen - drawn)).clip(0, 1)]) * 255
        cv2.imwrite('reference.png', np.kron(row.round(), np.ones((4, 4))).astype(np.uint8))


if __name__ == '__main__':
    main(*sys.argv[1:]) if sys.argv[1:] else sys.exit(__doc__)
