"""Programs built on a newer glibc than their host's, made to run on the older one where the functions are the same.

A compiler on glibc 2.38 names strtol and its like __isoc23_strtol, and fmod has a new version; the hosts' older glibc has
both under their first names. Such a reference is set back to the first name, without a version, and the demand for the
version becomes one for an older version that the file needs as well. (ELF: the System V ABI; symbol versions: the LSB.)
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from running import failure

NEWEST = (2, 36)  # Debian 12's
_RENAMED = b"__isoc23_"
_SAME = {b"fmod", b"fmodf"}  # its new version differs in errno alone
_ADVICE = "see what older_glibc.py can do about it."
_DYNSYM, _VERSYM, _VERNEED = 11, 0x6FFFFFFF, 0x6FFFFFFE
_ELF64_LITTLE = b"\x7fELF\x02\x01"
_SECTION = "<IIQQQQIIQQ"


@dataclass
class _Section:
    kind: int
    offset: int
    size: int
    link: int


def _sections(data: bytearray) -> list[_Section]:
    table = struct.unpack_from("<Q", data, 0x28)[0]
    entry, count = struct.unpack_from("<HH", data, 0x3A)
    rows = [struct.unpack_from(_SECTION, data, table + at * entry) for at in range(count)]
    return [_Section(kind=row[1], offset=row[4], size=row[5], link=row[6]) for row in rows]


def _text(data: bytearray, at: int) -> bytes:
    return bytes(data[at : data.index(0, at)])


def _is_new(version: bytes) -> bool:
    found = re.match(rb"GLIBC_(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) > NEWEST


def _replace(data: bytearray, needs: _Section, strings: int, path: Path) -> dict[int, bytes]:
    """Ask for an old version of the same library in place of each that is too new; return their numbers and names."""
    new, need = {}, needs.offset
    while True:
        _, count, _, aux, following = struct.unpack_from("<HHIII", data, need)
        at, wanted, old = need + aux, [], None
        for _ in range(count):
            hashed, _, number, name, step = struct.unpack_from("<IHHII", data, at)
            version = _text(data, strings + name)
            if _is_new(version):
                new[number] = version
                wanted.append(at)
            else:
                old = (hashed, name)
            at += step
        for at in wanted:
            if old is None:
                raise failure(
                    f"{path.name} cannot be adapted to older hosts.", str(path), "it names no old version at all", _ADVICE
                )
            struct.pack_into("<I", data, at, old[0])
            struct.pack_into("<I", data, at + 8, old[1])
        if not following:
            return new
        need += following


def adapt(path: Path) -> bool:
    """Change the program or library `path` where it must be; say whether it was; StandInError when that is not possible."""
    data = bytearray(path.read_bytes())
    if not data.startswith(_ELF64_LITTLE):
        return False
    sections = _sections(data)
    by_kind = {section.kind: section for section in sections}
    if _VERNEED not in by_kind:
        return False
    symbols, versions = by_kind[_DYNSYM], by_kind[_VERSYM]
    strings = sections[symbols.link].offset
    new = _replace(data, by_kind[_VERNEED], strings, path)
    for at in range(versions.size // 2):
        (number,) = struct.unpack_from("<H", data, versions.offset + 2 * at)
        if number not in new:
            continue
        symbol = symbols.offset + 24 * at
        (name_at,) = struct.unpack_from("<I", data, symbol)
        name = _text(data, strings + name_at)
        if name.startswith(_RENAMED):
            struct.pack_into("<I", data, symbol, name_at + len(_RENAMED))
        elif name not in _SAME:
            why = f"it needs {name.decode()} of {new[number].decode()}, newer than Debian 12's and 13's glibc allow for"
            raise failure(f"{path.name} cannot be adapted to older hosts.", str(path), why, _ADVICE)
        struct.pack_into("<H", data, versions.offset + 2 * at, 1)
    path.write_bytes(data)
    return bool(new)
