"""Programs that we start, and signals that reach them by us."""
import signal
import subprocess


def start_child(command, **options):
    """A Popen of the command (its words, of any type) with these options. It dies with us, however
    we die, and has a session of its own: Ctrl-C in a terminal reaches us alone, and it by us."""
    # setpriv, since code of ours between fork and exec (preexec_fn) can hang where threads run.
    return subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *map(str, command)],
                            start_new_session=True, **options)


def catch_signals():
    """The list to which the signals that ask us to stop are added from now on."""
    # No exception: Caffe, or a file half written, is to come to its end first.
    received = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # SIGHUP is ignored under nohup, and stays so
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, frame: received.append(number))
    return received
