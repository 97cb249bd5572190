"""Five points for faces that a set's makers have cut out and aligned: where the detector finds
none, or some outside of the picture, the makers' own crop serves, placed as the others of its size.
"""
import collections

import numpy as np

from data_prep import align, pictures, workers


def fill_in(raw, points, failures, processes):
    """({path: 5 x 2 points}, {path: reason}, number of pictures filled in) for what a detector
    gave, points and failures by path (relative to folder raw).

    A picture without points that can be used gets the mean of those of all the set's pictures of
    the same size. Without remain those that cannot be read, that are of one grey all over, and
    those of a size of which no face was found.
    """
    paths = sorted({*points, *failures})
    jobs = [(raw, path, points.get(path)) for path in paths]
    looked_at = workers.run(inspect, jobs, processes, desc='crops', unit='picture')
    size_of, reason_of, five_of = {}, {}, collections.defaultdict(list)
    for path, (size, reason) in zip(paths, looked_at):
        size_of[path] = size
        if reason is None:
            five_of[size].append(points[path])
        else:
            reason_of[path] = reason

    mean = {size: np.mean(found, axis=0) for size, found in five_of.items()}
    whole = {path: points[path] for path in paths if path not in reason_of}
    filled = {path: mean[size_of[path]] for path in reason_of if size_of[path] in mean}
    without = {path: failures.get(path, reason) if size_of[path] else reason
               for path, reason in reason_of.items() if path not in filled}
    return {**whole, **filled}, without, len(filled)


def inspect(job):
    """(size, reason) of a job (raw, path, points or None): the picture's height and width, None
    where it is of no use; and why its points cannot be used, None where they can."""
    raw, path, points = job
    try:
        image = pictures.read_grey(raw, path)
    except ValueError as error:
        return None, str(error)
    if image.min() == image.max():
        return None, 'image is blank'
    if points is None:
        return image.shape, 'no face found'
    try:
        align.placement(image.shape, points)
    except ValueError as error:
        return image.shape, str(error)
    return image.shape, None
