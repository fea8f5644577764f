"""Where each row of a sound queue.db lies, byte for byte, in the file and in its log: a reader of its own, beside the one that is tested.

Unlike that one it walks the trees from their roots, as SQLite does. www.sqlite.org/fileformat2.html
"""

import struct

PAGE = 8192
FRAME = 24 + PAGE


class Row:
    """The bytes that a row needs: [(file, start, stop)], and the last frame of the log among them."""

    def __init__(self, values, ranges, last_frame):
        self.values, self.ranges, self.last_frame = values, ranges, last_frame


def u16(data, at):
    return struct.unpack_from(">H", data, at)[0]


def u32(data, at):
    return struct.unpack_from(">I", data, at)[0]


def varint(data, at):
    value = 0
    for n in range(8):
        value = value << 7 | data[at + n] & 0x7F
        if data[at + n] < 0x80:
            return value, at + n + 1
    return value << 8 | data[at + 8], at + 9


def record(data):
    """The values of a record."""
    end, at = varint(data, 0)
    values, value_at = [], end
    while at < end:
        kind, at = varint(data, at)
        if kind >= 12:
            size = (kind - 12) // 2
            part = bytes(data[value_at : value_at + size])
            values.append(part.decode() if kind % 2 else part)
        else:
            size = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]
            if kind == 0:
                values.append(None)
            elif kind >= 8:
                values.append(kind - 8)
            else:
                values.append(int.from_bytes(data[value_at : value_at + size], "big", signed=True))
        value_at += size
    return values


class Reading:
    def __init__(self, db, wal):
        self.db, self.wal = db, wal
        self.frames = []  # (offset, pages after the commit or 0)
        self.newest = {}  # page -> frame
        self.read_log()
        roots = {row.values[1]: row.values[3] for row in self.walk(1) if row.values[0] == "table"}
        self.messages = {row.values[0]: row for row in self.walk(roots["message"])}
        self.contents = {row.values[0]: row for row in self.walk(roots["content"])}
        self.recipients = {tuple(row.values[:2]): row for row in self.walk(roots["recipient"])}

    def read_log(self):
        """The frames of this generation up to the last commit. The log is sound, so its checksums are not looked at."""
        if len(self.wal) < 32:
            return
        salts, pending = self.wal[16:24], {}
        for at in range(32, len(self.wal) - FRAME + 1, FRAME):
            if self.wal[at + 8 : at + 16] != salts:
                break
            commit = u32(self.wal, at + 4)
            pending[u32(self.wal, at)] = len(self.frames)
            self.frames.append((at, commit))
            if commit:
                self.newest.update(pending)
                pending = {}

    def page(self, number):
        """Its bytes, and where they begin: (file, offset, frame or -1)."""
        frame = self.newest.get(number, -1)
        if frame >= 0:
            at = self.frames[frame][0] + 24
            return self.wal[at : at + PAGE], ("queue.db-wal", at, frame)
        at = (number - 1) * PAGE
        return self.db[at : at + PAGE], ("queue.db", at, -1)

    def walk(self, number):
        """All rows below a page."""
        data, (name, start, frame) = self.page(number)
        header = 100 if number == 1 else 0
        kind, cells = data[header], u16(data, header + 3)
        length = 12 if kind in (2, 5) else 8
        for n in range(cells):
            pointer = header + length + 2 * n
            at = u16(data, pointer)
            if kind in (2, 5):
                yield from self.walk(u32(data, at))
                at += 4
            if kind == 5:
                continue
            ranges = [(name, start + header, start + header + length), (name, start + pointer, start + pointer + 2)]
            if frame >= 0:
                ranges.append((name, start - 24, start))
            yield self.row(data, (name, start, frame), at, kind == 13, ranges)
        if kind in (2, 5):
            yield from self.walk(u32(data, header + 8))

    def row(self, data, where, at, has_rowid, ranges):
        name, start, frame = where
        begin = at - (0 if data[0] != 2 else 4)
        size, at = varint(data, at)
        rowid = None
        if has_rowid:
            rowid, at = varint(data, at)
        most = PAGE - 35 if has_rowid else (PAGE - 12) * 64 // 255 - 23
        local = size
        if size > most:
            least = (PAGE - 12) * 32 // 255 - 23
            local = least + (size - least) % (PAGE - 4)
            local = local if local <= most else least
        payload = bytearray(data[at : at + local])
        end, last_frame = at + local, frame
        if local < size:
            following, end = u32(data, end), end + 4
            while following:
                more, (file, place, its_frame) = self.page(following)
                used = min(PAGE - 4, size - len(payload))
                payload += more[4 : 4 + used]
                ranges.append((file, place, place + 4 + used))
                if its_frame >= 0:
                    ranges.append((file, place - 24, place))
                last_frame = max(last_frame, its_frame)
                following = u32(more, 0)
        ranges.append((name, start + begin, start + end))
        values = record(payload)
        if has_rowid and values and values[0] is None:
            values[0] = rowid
        return Row(values, ranges, last_frame)
