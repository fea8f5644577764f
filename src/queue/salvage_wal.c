/*
 * See salvage_wal.h. The checksum of a frame goes on from that of the frame before it, which is stored there: a damaged frame does not
 * hide those behind it. A torn end is no damage: the power went before its sync, nothing in it was promised. What comes behind a whole
 * transaction was only written after that was synced; so a broken transaction with a sound frame behind it is damage.
 */
#include "queue/salvage_wal.h"

#include <endian.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "queue/salvage_page.h"

enum { HEADER = 32, FRAME_HEADER = 24, FRAME = FRAME_HEADER + SALVAGE_PAGE_SIZE, MAGIC = 0x377f0682 };

struct sums {
	uint32_t a, b;
};

struct reading {
	int fd;
	bool big;   /* the words under the checksum are big-endian */
	bool sound; /* the header is */
	uint32_t salts[2];
	struct sums sums; /* stored with the header or the frame before */
};

static struct sums stored_sums(const uint8_t *at)
{
	return (struct sums){ salvage_page_u32(at), salvage_page_u32(at + 4) };
}

static uint32_t word(const uint8_t *at, bool big)
{
	uint32_t value = salvage_page_u32(at);

	return big ? value : __builtin_bswap32(value);
}

static struct sums add(struct sums sums, const uint8_t *at, size_t len, bool big)
{
	for (size_t i = 0; i < len; i += 8) {
		sums.a += word(at + i, big) + sums.b;
		sums.b += word(at + i + 4, big) + sums.a;
	}
	return sums;
}

static bool equal(struct sums one, struct sums other)
{
	return one.a == other.a && one.b == other.b;
}

static bool read_frame(const struct reading *r, size_t index, uint8_t *frame)
{
	return pread(r->fd, frame, FRAME, (off_t)(HEADER + (uint64_t)index * FRAME)) == FRAME;
}

static void read_salts(const uint8_t *at, uint32_t salts[2])
{
	salts[0] = salvage_page_u32(at);
	salts[1] = salvage_page_u32(at + 4);
}

/* The salts name the generation of the log: frames with others are left over. When the header is damaged the frames say them: one that agrees
 * with the header, or else the first two neighbours that agree with each other. */
static void guess_salts(struct reading *r)
{
	uint32_t before[2] = { 0, 0 }, salts[2], agreed[2];
	uint8_t frame[FRAME];
	bool agree = false;

	for (size_t index = 0; read_frame(r, index, frame); index++) {
		read_salts(frame + 8, salts);
		if (salts[0] == 0 && salts[1] == 0)
			continue; /* a page that was lost */
		if (memcmp(salts, r->salts, sizeof salts) == 0)
			return;
		if (!agree)
			memcpy(agreed, salts, sizeof salts);
		agree = agree || memcmp(salts, before, sizeof salts) == 0;
		memcpy(before, salts, sizeof salts);
	}
	if (agree)
		memcpy(r->salts, agreed, sizeof agreed);
}

static int read_header(struct reading *r)
{
	uint8_t header[HEADER];

	ssize_t len = pread(r->fd, header, sizeof header, 0);
	if (len < 0)
		return -errno;
	if (len < HEADER)
		return 0;
	const bool magic = (salvage_page_u32(header) & ~1u) == MAGIC;
	r->big = magic ? (header[3] & 1) != 0 : BYTE_ORDER == BIG_ENDIAN;
	r->sums = stored_sums(header + 24);
	r->sound = magic && salvage_page_u32(header + 8) == SALVAGE_PAGE_SIZE &&
		   equal(r->sums, add((struct sums){ 0, 0 }, header, 24, r->big));
	read_salts(header + 16, r->salts);
	if (r->sound)
		return 0;
	r->big = BYTE_ORDER == BIG_ENDIAN; /* a bit of the magic number says it: that may be the wrong one */
	guess_salts(r);
	return 0;
}

/* Judge a frame; false when it is not of this generation. Generations share neither salt: one that fits is enough; but to SQLite it is not, unless
 * the header is damaged and nothing is anything to it: then the salts may be damaged, too. */
static bool take_frame(struct reading *r, const uint8_t *bytes, size_t index, struct salvage_frame *ret_frame)
{
	const struct sums sums =
		add(add(r->sums, bytes, 8, r->big), bytes + FRAME_HEADER, SALVAGE_PAGE_SIZE, r->big);
	const bool first = salvage_page_u32(bytes + 8) == r->salts[0],
		   second = salvage_page_u32(bytes + 12) == r->salts[1];

	r->sums = stored_sums(bytes + 16);
	*ret_frame = (struct salvage_frame){ .page = salvage_page_u32(bytes),
		.commit = salvage_page_u32(bytes + 4),
		.at = HEADER + (uint64_t)index * FRAME + FRAME_HEADER,
		.sound = (r->sound ? first && second : first || second) && equal(sums, r->sums) };
	return first || second;
}

/* Where a synced transaction cannot be found by SQLite: see above. `broken` is whether anything before the frame was. */
struct judgement {
	bool broken, ended;
};

static void judge(struct judgement *j, struct salvage_wal *wal, const struct salvage_frame *frame)
{
	if (frame == NULL || !frame->sound)
		j->broken = true;
	else if (j->ended)
		wal->lost = true;
	if (j->broken && frame != NULL && frame->commit != 0)
		j->ended = true;
}

static void read_frames(struct reading *r, struct salvage_wal *wal)
{
	size_t room = 0, count = 0;
	struct judgement judgement = { .broken = !r->sound };
	uint8_t bytes[FRAME];

	for (size_t index = 0; read_frame(r, index, bytes); index++) {
		struct salvage_frame frame;
		bool ours = take_frame(r, bytes, index, &frame);

		if (ours && frame.sound && !r->sound)
			wal->lost = true; /* with its header all of the log is lost to SQLite */
		judge(&judgement, wal, ours ? &frame : NULL);
		if (!ours)
			continue;
		if (count == room) {
			room = room == 0 ? 64 : 2 * room;
			wal->frames = text_must(
				talloc_realloc(wal, wal->frames, struct salvage_frame, (unsigned)room));
		}
		wal->frames[count++] = frame;
		if (frame.commit != 0)
			wal->count = count;
	}
	wal->sound = r->sound && !wal->lost;
	for (size_t i = 0; i < wal->count; i++)
		wal->sound = wal->sound && wal->frames[i].sound;
}

int salvage_wal_read(const void *owner, int fd, struct salvage_wal **ret_wal)
{
	struct salvage_wal *wal = text_must(talloc_zero(owner, struct salvage_wal));
	struct reading reading = { .fd = fd };
	struct stat status;

	wal->sound = true;
	if (fd >= 0) {
		int r = fstat(fd, &status) < 0 ? -errno : read_header(&reading);

		if (r < 0) {
			talloc_free(wal);
			return r;
		}
		if (status.st_size > HEADER)
			read_frames(&reading, wal);
	}
	*ret_wal = wal;
	return 0;
}
