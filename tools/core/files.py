"""Files that are whole or not there."""
from pathlib import Path


def write(path, content):
    """Writes a file, of text or of bytes, beside its place and renames it; where that fails,
    nothing of it is left."""
    path = Path(path)
    # In the same folder, since a rename is at once within one file system only.
    partial = path.with_name(path.name + '.partial')
    try:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode('utf-8'))
        partial.replace(path)
    except OSError:
        if partial.is_file():
            partial.unlink()
        raise
