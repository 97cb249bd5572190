"""Files that are whole or not there."""
from pathlib import Path


def write(path, content):
    """Writes a file, of text or of bytes, beside its place and renames it."""
    path = Path(path)
    partial = path.with_name(path.name + '.partial')
    partial.write_bytes(content if isinstance(content, bytes) else content.encode('utf-8'))
    partial.replace(path)
