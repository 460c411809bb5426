#!/usr/bin/env python3
"""Write Jane Austen's Persuasion (public domain) to a file, out of Debian's package r-cran-janeaustenr.

    python fetch_text.py persuasion.txt          (needs apt-get and dpkg-deb; nothing is installed)

The package keeps each book as one string per line in R's lazy-load format: zlib chunks, each after its length as four
bytes, big end first; inside, R's XDR serialization of a character vector.
"""

import glob
import os
import struct
import subprocess
import sys
import tempfile
import zlib

DATABASE = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
VECTOR, STRING = 16, 9  # SEXP types STRSXP and CHARSXP: the low byte of R's flag word


def character_vectors(data):
    """Every character vector stored in a lazy-load database."""
    start = 0
    while start + 4 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        inflater = zlib.decompressobj()
        content = inflater.decompress(data[start + 4 :])
        if len(content) != length:
            sys.exit(f"chunk at {start}: {len(content)} bytes, {length} announced")
        start = len(data) - len(inflater.unused_data)
        version, position = struct.unpack_from(">I", content, 2)[0], 14  # "X\n", then three versions
        if version >= 3:  # the native encoding's name, after its length
            position += 4 + struct.unpack_from(">I", content, position)[0]
        flags, = struct.unpack_from(">I", content, position)
        if flags & 0xFF != VECTOR:
            continue
        (count,) = struct.unpack_from(">I", content, position + 4)
        position, lines = position + 8, []
        for _ in range(count):
            flags, size = struct.unpack_from(">Ii", content, position)
            if flags & 0xFF != STRING:
                sys.exit("a character vector holds something else than strings")
            position += 8
            lines.append(content[position : position + max(size, 0)].decode("utf-8"))
            position += max(size, 0)
        yield lines


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-q", "r-cran-janeaustenr"], cwd=folder, check=True, stdout=sys.stderr)
        package = glob.glob(os.path.join(folder, "r-cran-janeaustenr_*.deb"))[0]
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        with open(os.path.join(folder, DATABASE), "rb") as file:
            books = list(character_vectors(file.read()))
    book = next((lines for lines in books if lines and lines[0].lower().startswith("persuasion")), None)
    if book is None:
        sys.exit(f"Persuasion is not among the books: {[lines[:1] for lines in books]}")
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("\n".join(book))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
