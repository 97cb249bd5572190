"""The expression of every face in pictures, a video or a webcam's, by a trained run: `make
predict`.

    python3 -m tools.predict photo.jpg [--run RUN] [--format json] [--out FOLDER]

IMAGE is a picture, a folder of pictures (in natural order: frame2 before frame10), or a video. A
line a face goes to standard output. With --format json it is an object: image, frame (of a video,
from 0), face (1 is the largest), points (left and right eye as seen, nose, corners of the mouth: x,
y in pixels), expression, probabilities; with --format csv a row of the same.

A picture of the result goes to predictions/<name>.png: each face X, the reference X̂r that the
network drew of it, where the two differ, and the probabilities; for a video the probabilities by
frame, and with --draw video the video itself with its faces marked. With --format json or csv they
are drawn only where --out names a folder.

The exit code is 0 where at least one face was found. A picture in a folder that cannot be read is
named on standard error and passed over.
"""
import argparse
import sys
from pathlib import Path

from data_prep import ended_by_ctrl_c


def read_arguments():
    """The command line's options."""
    parser = argparse.ArgumentParser(description='The expression of every face in pictures.')
    parser.add_argument('image', nargs='?', type=Path,
                        help='a picture, a folder of pictures, or a video')

    parser.add_argument('--run', help='folder of a trained run (default: the model that comes with '
                        'the project)')
    parser.add_argument('--frequencies', action='store_true',
                        help='multiply the probabilities with how frequent each class was in '
                        'training, for a run trained with `balance`, which takes all for equally '
                        'probable')

    parser.add_argument('--format', choices=('text', 'json', 'csv'), default='text',
                        help='of standard output (default: text)')
    parser.add_argument('--out', type=Path,
                        help='folder of the pictures drawn (default: predictions)')
    parser.add_argument('--draw', choices=('video',), help='of a video, the video with its faces '
                        'marked, beside the picture of its probabilities')

    # Whole numbers, but read as text: tools.core.arguments says in a sentence what is wrong.
    parser.add_argument('--every', default=1, metavar='N',
                        help='of a video, every Nth frame (default: 1)')
    parser.add_argument('--webcam', metavar='N',
                        help='take the pictures of webcam N instead, until Ctrl-C')
    parser.add_argument('--workers', metavar='N',
                        help='processes that look for faces (default: one a core)')
    return parser.parse_args()


def main():
    options = read_arguments()
    with ended_by_ctrl_c():
        from tools.core import prediction
    return prediction.run(options)


if __name__ == '__main__':
    sys.exit(main())
