"""From a database's pictures to pairs, crops and folds."""
import sys


def end_quietly(kind, error, trace):
    """In the place of sys.excepthook: Ctrl-C that no command has caught is a word, no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print('Interrupted.', file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def interrupted(what):
    """The SystemExit to raise after Ctrl-C, with a shell's exit code for it; says on standard error
    `what` became of the work."""
    print(f'Interrupted: {what}.', file=sys.stderr)
    return SystemExit(130)


if sys.argv[0] == '-m':  # so Python calls itself while it looks for the command that it was given
    sys.excepthook = end_quietly
