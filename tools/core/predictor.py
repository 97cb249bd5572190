"""From pictures to expressions: faces are found, aligned as for training, and recognised."""
import collections
from pathlib import Path

import cv2
import numpy as np

from data_prep import align, detect, names, pictures
from prototxt import net
from tools.core import class_balance, network, run_folder

SHIPPED = Path('prototxt/trained')  # comes with the project, an exported run (tools/export.py)
LONGEST = 4096  # pixels: a longer picture is shrunk first, and faces below 307 are not found in it

# points: 5 x 2 as those of align.five_points, in pixels of the picture; probabilities: {class:
# float}; face: X as the network saw it; reference: X̂r that it drew, None for a net without
# generator. Both are 64 x 64; X is in [0, 1], X̂r is 0 or more.
Face = collections.namedtuple('Face', 'points expression probabilities face reference')


class Predictor:
    """A trained run, ready for pictures:

        predictor = Predictor('runs/demo/s1r1/fold3_seed1')
        faces = predictor(cv2.imread('photo.jpg'))

    folder: a run folder, or one with its run.json, deploy.prototxt and a caffemodel in snapshots/;
    by default the model that comes with the project. Raises SystemExit, saying why, where that is
    no run, is damaged, or does not tell expressions in faces cropped as they are now. frequencies:
    a class is as probable as it was frequent in training, where the run was trained with `balance`
    and so takes all for as frequent.
    """

    def __init__(self, folder=None, frequencies=False):
        self.folder = Path(folder or default_folder())
        self.run, self.frequencies = read_settings(self.folder), frequencies
        self.classes, self.iterations = self.run['classes'], self.run.get('iterations')
        text = network.read_text(self.folder)
        self.net, self.iteration = network.load(self.folder, text)
        self.check_shapes()
        # Nobody looks at the reconstructions here, and they are a fifth of the work and more.
        shown = {'prob', 'generated'} & set(self.net.blobs)
        self.used = network.cut(self.net, text, shown)
        if frequencies:
            # What is wrong with them is said now, not at the first face.
            class_balance.with_frequencies(self.run, np.ones((1, len(self.classes))))

    def check_shapes(self):
        """SystemExit where the network takes no queries, or gives no probabilities of each."""
        picture, classes = (1, net.CROP, net.CROP), len(self.classes)
        query = self.net.blobs.get('query')
        if list(self.net.inputs) != ['query'] or query.data.shape[1:] != picture:
            raise SystemExit(f'{self.folder}: deploy.prototxt takes no `query` of 1 x {net.CROP} x '
                             f'{net.CROP}: train again.')

        # Two queries, for a net that does not keep them apart
        query.reshape(2, *picture)
        self.net.reshape()
        shapes = {name: blob.data.shape for name, blob in self.net.blobs.items()}
        outputs = shapes.get('prob', ())
        if outputs != (2, classes):
            raise SystemExit(
                f'{self.folder}: deploy.prototxt has {outputs[1] if outputs[1:] else "no"} outputs '
                f'`prob`, run.json {classes} classes: train again.')
        for name in {*self.net.outputs, *network.pictures(self.net)}:
            drawn = name in network.pictures(self.net)
            if shapes[name][:1] != (2,) or drawn and shapes[name] != (2, *picture):
                raise SystemExit(f'{self.folder}: deploy.prototxt gives `{name}` in the shape '
                                 f'{shapes[name]} for two faces: train again.')

    def __call__(self, image):
        """The Faces of an image, the largest first; [] where none is found.

        image: uint8, H x W (grey) or H x W x 3 (blue, green, red, as cv2.imread gives it);
        ValueError for any other.
        """
        return self.batch([image])[0]

    def batch(self, images):
        """A list of Faces, as of one image, for each of several: faster than one by one."""
        return self.recognise([find_faces(grey(image)) for image in images])

    def recognise(self, found):
        """The Faces of several pictures, a list each; found: what find_faces() gave for each."""
        crops = [crop for faces in found for _, crop in faces]
        if not crops:  # a network takes one query at least
            return [[] for _ in found]

        queries = network.centre(np.array(crops))
        # A face and its mirror image show the same, and the mean of both is right more often
        # (prototxt/trained/README.md). The test of a run sees the face alone.
        outputs = network.run(self.used, np.concatenate([queries, queries[..., ::-1]]))
        probabilities = outputs['prob'].reshape(2, len(crops), -1).mean(axis=0)
        if not np.isfinite(probabilities).all():
            raise SystemExit(f'{self.folder} gives probabilities that are not finite: train again.')

        references = outputs['generated'][:, 0] if 'generated' in outputs else [None] * len(crops)
        if self.frequencies:
            probabilities = class_balance.with_frequencies(self.run, probabilities)

        # As many as there are crops, in their order: each face takes the next one.
        rows = zip(probabilities, queries[:, 0], references)
        return [[self.face(points, *next(rows)) for points, _ in faces] for faces in found]

    def face(self, points, probabilities, query, reference):
        return Face(points, self.classes[probabilities.argmax()],
                    dict(zip(self.classes, probabilities.tolist())), query, reference)


def default_folder():
    """Folder of the model that comes with the project; where there is none, of the run that was
    tested last, of those that tell expressions. SystemExit if there is neither."""
    if (SHIPPED / 'run.json').is_file():
        return SHIPPED
    results = [path for path in Path('runs').glob('*/*/fold*_seed*/result.json')
               if path.parts[-3] in net.VARIANTS]
    if results:
        return max(results, key=lambda path: path.stat().st_mtime).parent
    raise SystemExit(
        'There is no tested run in runs: `make demo` or `make train` makes one, or name a '
        'run folder.')


def read_settings(folder):
    """The run.json of a run folder.

    SystemExit if it does not tell expressions in faces cropped as now.
    """
    if not folder.is_dir():
        raise SystemExit(f'{folder} is no run folder: name one that `make train` made, such as '
                         'runs/demo/s1r1/fold3_seed1.')
    run = run_folder.read_settings(folder)
    if run.get('variant') not in net.VARIANTS:
        raise SystemExit(
            f'{folder} tells no expressions: its variant is {str(run.get("variant"))[:60]}, and '
            f'not one of {", ".join(net.VARIANTS)}.')
    classes = run['classes']
    # Names are printed and drawn, and what is not printable would steer the terminal.
    if len(set(classes)) < len(classes) or not all(
            0 < len(name) <= names.LONGEST and name.isprintable() for name in classes):
        raise SystemExit(f'{folder}/run.json has classes that are twice in it, empty, not '
                         f'printable or longer than {names.LONGEST} letters: remove {folder} and '
                         'train again.')
    if run.get('crop', network.ALIGNMENT) != network.ALIGNMENT:  # one that does not say is older
        raise SystemExit(
            f'{folder} was trained on faces that were cropped in another way (see TARGET in '
            'data_prep/align.py): run `make data` and train again.')
    return run


def read_grey(name):
    """A picture file as grey uint8 H x W; ValueError where it is missing, damaged or cut short."""
    return pictures.decode(pictures.read_bytes(name))


def grey(image):
    """An image as Predictor takes it, as grey uint8 H x W; ValueError for anything else."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f'an image must be a numpy array, not {type(image).__name__}')
    if image.dtype != np.uint8 or not image.size or image.ndim != 2 and image.shape[2:] != (3,):
        raise ValueError('an image must be uint8 of shape H x W (grey) or H x W x 3 (BGR), '
                         f'not {image.dtype} of shape {image.shape}')
    return pictures.grey(image)


def find_faces(image):
    """[(points, crop)] of the faces in a grey uint8 image, the largest first.

    Points are 5 x 2 in pixels of the image, crops 66 x 66 uint8. Faces whose five points do not all
    lie in the picture are left out.
    """
    height, width = image.shape
    shrink = min(1, LONGEST / max(height, width))
    if shrink < 1:
        image = cv2.resize(image, (max(1, round(width * shrink)), max(1, round(height * shrink))),
                           interpolation=cv2.INTER_AREA)

    # Cropped from what was searched, while the points are told in pixels of the whole picture.
    enlarge = [width / image.shape[1], height / image.shape[0]]
    found = []
    for points in detect.faces(image):
        try:
            found.append(((points + 0.5) * enlarge - 0.5, align.crop(image, points)))
        except ValueError:
            continue
    return found
