"""Files that are whole or not there, and texts that may be anybody's."""
import contextlib
import tempfile
from pathlib import Path

LONGEST = 10 ** 7  # bytes of a text; a run.json that names 10,000 people has 300,000


def read_text(path, longest=LONGEST):
    """The text of a file in UTF-8 that somebody gave us, and that may be a link to a device, which
    has no end, or a pipe, which waits; ValueError where it is no file or too long, OSError where
    it cannot be read."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError('it is no file')
    with open(path, 'rb') as file:
        data = file.read(longest + 1)
    if len(data) > longest:
        raise ValueError(f'it has more than {longest:,} bytes')
    return data.decode('utf-8')


def write(path, content):
    """Writes a file, of text or of bytes, beside its place and renames it; where that fails,
    nothing of it is left."""
    path = Path(path)
    # In the same folder, since a rename is at once within one file system only.
    partial = path.with_name(path.name + '.partial')
    try:
        partial.write_bytes(as_bytes(content))
        partial.replace(path)
    except OSError:
        if partial.is_file():
            partial.unlink()
        raise


@contextlib.contextmanager
def temporary(content, ending):
    """The path of a file that holds text or bytes as long as the context lasts, for Caffe, which
    reads files alone."""
    with tempfile.NamedTemporaryFile(suffix=ending) as file:
        file.write(as_bytes(content))
        file.flush()
        yield file.name


def as_bytes(content):
    return content if isinstance(content, bytes) else content.encode('utf-8')
