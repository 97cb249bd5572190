"""From a database's pictures to pairs, crops and folds."""
import contextlib
import os
import signal
import sys

# A telephone's largest photograph has 16,320 x 12,240. More would take gigabytes. OpenCV, which may
# find another size in a damaged head than Pillow does, is told when it is loaded.
MOST_PIXELS = 200_000_000
os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'] = str(MOST_PIXELS)

told = []  # Ctrl-C, where end_quietly has said it


def end_quietly(kind, error, trace):
    """In the place of sys.excepthook: Ctrl-C that no command has caught is a word, no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print('Interrupted.', file=sys.stderr)
        told.append(kind)
    elif told:  # OpenCV, being loaded, shows it by this hook and raises an ImportError of its own
        os._exit(130)
    else:
        sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def ended_by_ctrl_c():
    """Ctrl-C in it ends the process, without a word: for the loading of Caffe and OpenCV, half a
    second and more, in which Python's own way would end in a traceback through them."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:  # from here on there is something to end well
        signal.signal(signal.SIGINT, before)


def interrupted(what):
    """The SystemExit to raise after Ctrl-C, with a shell's exit code for it; says on standard error
    `what` became of the work."""
    print(f'Interrupted: {what}.', file=sys.stderr)
    return SystemExit(130)


if sys.argv[0] == '-m':  # so Python calls itself while it looks for the command that it was given
    sys.excepthook = end_quietly
    # The Makefile holds Ctrl-C back until here: Python's own start would end in a traceback.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
