"""What a disk may hold after a power cut: a model of a strict file system, fed with a trace of the shim (trace.h).

Only a sync is a promise. Until a file was synced, each write to it may be lost, kept or torn, and each change of its size
lost or kept, independently of the others. Until a directory was synced, each name added to or removed from it may be
lost or kept; a rename inside one directory happens or not as a whole. Syncing a file does not keep its name.
"""

import mmap
import os
import struct

HEADER = struct.Struct("=IIQQQQ")
(CREATE, UNNAMED, MKDIR, LINK, UNLINK, RENAME, WRITE, SIZE, SYNC_BEGIN, SYNC_END, MARK) = range(1, 12)
SECTOR = 512
MEMORY_ONLY = "-shm"  # SQLite's index of the WAL: written through a mapping, made anew after a crash


class File:
    """`data` is on the disk; `pending` is what was done since and not synced: (position in the trace, offset, bytes) or
    (position, size, None)."""

    def __init__(self):
        self.data = bytearray()
        self.pending = []

    def sync(self, before):
        count = 0
        for position, offset, data in self.pending:
            if position >= before:
                break
            put(self.data, offset, data)
            count += 1
        del self.pending[:count]

    def after_cut(self, chance):
        data = bytearray(self.data)
        for _, offset, written in self.pending:
            if not chance.keeps_data():
                continue
            if written is not None and chance.tears():
                tear(data, offset, written, chance)
            else:
                put(data, offset, written)
        return data


class Directory:
    """As File; pending changes are (position, name, node), where node None removes the name, or a list of such that
    happens as a whole."""

    def __init__(self):
        self.names = {}
        self.pending = []
        self.now = {}  # as the running program sees it

    def change(self, position, *changes):
        apply(self.now, changes)
        self.pending.append((position, changes))

    def sync(self, before):
        count = 0
        for position, changes in self.pending:
            if position >= before:
                break
            apply(self.names, changes)
            count += 1
        del self.pending[:count]

    def after_cut(self, chance):
        names = dict(self.names)
        for _, changes in self.pending:
            if chance.keeps_names():
                apply(names, changes)
        return names


def apply(names, changes):
    for name, node in changes:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def put(data, offset, written):
    if written is None:  # a change of size
        del data[offset:]
        data.extend(bytes(offset - len(data)))
        return
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def tear(data, offset, written, chance):
    """Some sectors of a write reach the disk: the first ones, or any; the size grows with it or does not."""
    end = offset + len(written)
    if len(data) < end and chance.flip():
        data.extend(bytes(end - len(data)))
    cuts = [0] + list(range(SECTOR - offset % SECTOR, len(written), SECTOR)) + [len(written)]
    sectors = list(zip(cuts, cuts[1:]))
    if chance.flip():
        sectors = sectors[: chance.random.randrange(len(sectors))]
    else:
        sectors = [sector for sector in sectors if chance.flip()]
    for start, stop in sectors:
        put(data, offset + start, written[start:stop])


class Chance:
    """The fate of what was not synced. How much is kept is drawn for the whole image, so that some images lose everything and
    some nothing."""

    def __init__(self, random):
        self.random = random
        self.data = random.choice((0, 0, 0.5, 0.9, 1))
        self.names = random.choice((0, 0, 0.5, 0.5, 1))
        self.torn = random.choice((0, 0.5, 1))

    def keeps_data(self):
        return self.random.random() < self.data

    def keeps_names(self):
        return self.random.random() < self.names

    def tears(self):
        return self.random.random() < self.torn

    def flip(self):
        return self.random.random() < 0.5


class Luck:
    """The fate of a disk whose power never fails: everything is kept."""

    @staticmethod
    def keeps_data():
        return True

    keeps_names = keeps_data

    @staticmethod
    def tears():
        return False


class Trace:
    """The records of a trace file: a list of (kind, inode, other, number, names, start and stop of the data)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.records = []
        at = 0
        while at < len(self.bytes):
            kind, name_len, data_len, inode, other, number = HEADER.unpack_from(self.bytes, at)
            at += HEADER.size
            names = self.bytes[at : at + name_len].decode()
            at += name_len
            self.records.append((kind, inode, other, number, names, at, at + data_len))
            at += data_len

    def marks(self, word=""):
        """Positions of the marks, or of those that begin with `word`."""
        return [position for position, record in enumerate(self.records)
            if record[0] == MARK and record[4].startswith(word)]

    def syncs(self, start, stop):
        """Positions of the ends of syncs between two others."""
        return [position for position in range(start, stop) if self.records[position][0] == SYNC_END]


class Disk:
    """Plays a trace forward. An inode number means the file that was made with it last."""

    def __init__(self, trace, root):
        self.trace = trace
        self.position = 0
        self.root = Directory()
        self.nodes = {root: self.root}
        self.begun = {}
        self.marks = []

    def play(self, position):
        """Play all records before `position`; never backwards."""
        while self.position < position:
            self.step(*self.trace.records[self.position])
            self.position += 1

    def step(self, kind, inode, other, number, names, start, stop):
        if kind == WRITE:
            self.nodes[inode].pending.append((self.position, number, self.trace.bytes[start:stop]))
        elif kind == SIZE:
            self.nodes[inode].pending.append((self.position, number, None))
        elif kind == SYNC_BEGIN:
            self.begun[number] = self.position
        elif kind == SYNC_END:
            self.sync(inode, self.begun.pop(number))
        elif kind == MARK:
            self.marks.append(names)
        elif kind == UNNAMED:
            self.nodes[inode] = File()
        else:
            self.step_name(kind, inode, other, number, names)

    def step_name(self, kind, inode, other, number, names):
        directory = self.nodes[other]
        if kind in (CREATE, MKDIR):
            self.nodes[inode] = File() if kind == CREATE else Directory()
        if kind in (CREATE, MKDIR, LINK):
            directory.change(self.position, (names, self.nodes[inode]))
        elif kind == UNLINK:
            if names not in directory.now:
                raise ValueError(f"the trace removes {names}, which it never made")
            directory.change(self.position, (names, None))
        elif kind == RENAME:
            old, new = names.split("\0")
            target, node = self.nodes[number], self.nodes[inode]
            if target is directory:
                directory.change(self.position, (old, None), (new, node))
            else:
                directory.change(self.position, (old, None))
                target.change(self.position, (new, node))
        else:
            raise ValueError(f"record of unknown kind {kind}")

    def sync(self, inode, before):
        for node in [self.nodes[inode]] if inode != 0 else self.nodes.values():
            node.sync(before)

    def write_image(self, path, random):
        """Write what the disk may hold when the power fails now, as the directory `path`."""
        write_directory(self.root, path, Chance(random))

    def write_all(self, path):
        """Write what the program sees now."""
        write_directory(self.root, path, Luck())


def write_directory(directory, path, chance):
    os.mkdir(path, 0o700)
    for name, node in directory.after_cut(chance).items():
        if isinstance(node, Directory):
            write_directory(node, f"{path}/{name}", chance)
        elif not name.endswith(MEMORY_ONLY):
            with open(f"{path}/{name}", "wb") as file:
                file.write(node.after_cut(chance))
