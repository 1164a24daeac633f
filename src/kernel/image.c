#include "kernel/image.h"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"
#include "kernel/little.h"

#define ELF_SEGMENTS_MAX     64
#define ELF_SEGMENT_SIZE_MAX (1ULL << 30)
#define ELF_ADDRESS_MAX	     (1ULL << 40) /* of physical memory; kernels are linked below 4 GiB */
#define NOTE_SIZE_MAX	     (64U << 10)
#define XEN_PVH_ENTRY_NOTE   18 /* XEN_ELFNOTE_PHYS32_ENTRY */

/* The boot protocol: Documentation/arch/x86/boot.rst. */
#define BOOT_SETUP_SECTORS   0x1f1
#define BOOT_SECTOR_MAGIC    0x1fe
#define BOOT_HEADER_MAGIC    0x202
#define BOOT_VERSION	     0x206
#define BOOT_KERNEL_VERSION  0x20e
#define BOOT_LOAD_FLAGS	     0x211
#define BOOT_XLOAD_FLAGS     0x236
#define BOOT_PAYLOAD_OFFSET  0x248
#define BOOT_PAYLOAD_LENGTH  0x24c
#define BOOT_HEADER_END	     0x250
#define BOOT_VERSION_PAYLOAD 0x0208 /* the first with payload_offset */
#define BOOT_VERSION_XLOAD   0x020c /* the first with xloadflags */
#define BOOT_LOADED_HIGH     0x01
#define BOOT_XLF_KERNEL_64   0x01
#define BOOT_SECTOR_SIZE     512

/* What people hand in instead, by its first bytes. */
static const struct {
	size_t offset;
	size_t len;
	const char *magic;
	const char *what;
} strangers[] = {
	{ 0x38, 4, "ARM\x64", "an arm64 kernel image" },
	{ 0x38, 4, "RSC\x05", "a RISC-V kernel image" },
	{ 0, 2, "\x1f\x8b", "gzip data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 6,
	  "\xfd"
	  "7zXZ",
	  "xz data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "zstd data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 4, "\x02\x21\x4c\x18", "LZ4 data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 4, "\x04\x22\x4d\x18", "LZ4 data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 3, "BZh", "bzip2 data (a compressed vmlinux has to be unpacked first)" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image" },
	{ 0, 6, "070701", "a cpio archive (an initrd?)" },
	{ 0, 4, "QFI\xfb", "a qcow2 disk image" },
	{ 0, 7, "!<arch>", "an ar archive (a Debian package?)" },
	{ 0, 2, "#!", "a script" },
	{ 0, 4, "PK\x03\x04", "a zip archive" },
};

static const struct {
	uint16_t machine;
	const char *name;
} machines[] = {
	{ EM_386, "32-bit x86" }, { EM_ARM, "32-bit ARM" }, { EM_AARCH64, "arm64" },
	{ EM_RISCV, "RISC-V" },	  { EM_PPC64, "PowerPC" },  { EM_S390, "s390" },
	{ EM_MIPS, "MIPS" },
};

static const struct {
	uint16_t machine;
	const char *name;
} pe_machines[] = {
	{ 0x8664, "x86-64" },
	{ 0x014c, "32-bit x86" },
	{ 0xaa64, "arm64" },
	{ 0x5064, "RISC-V" },
};

struct segment {
	uint32_t type;
	uint64_t offset;
	uint64_t virtual_address;
	uint64_t address;
	uint64_t file_size;
	uint64_t memory_size;
};

const char *kernel_format_name(enum kernel_format format)
{
	static const char *const names[] = {
		[KERNEL_FORMAT_ELF] = "elf",
		[KERNEL_FORMAT_BZIMAGE] = "bzimage",
	};
	_Static_assert(ARRAY_LEN(names) == KERNEL_FORMAT_COUNT, "each format has a name");

	return names[format];
}

static int refuse(struct err *err, const char *found)
{
	return err_set(err, ERR_INVALID,
		       "this is %s; a kernel is an x86-64 ELF file (vmlinux) or a bzImage", found);
}

static int check_elf_identity(struct span head, struct err *err)
{
	uint16_t type;
	uint16_t machine;

	if (head.len < sizeof(Elf64_Ehdr))
		return refuse(err, "an ELF file cut short");
	if (head.ptr[EI_DATA] != ELFDATA2LSB)
		return refuse(err, "a big-endian ELF file");

	/* Type and machine are at the same place in 32-bit files, where the machine says more. */
	machine = little16(head.ptr + offsetof(Elf64_Ehdr, e_machine));
	for (size_t i = 0; i < ARRAY_LEN(machines); i++)
		if (machine == machines[i].machine)
			return err_set(err, ERR_INVALID,
				       "this is an ELF file for %s; a kernel for x86-64 is needed",
				       machines[i].name);
	if (machine != EM_X86_64)
		return err_set(err, ERR_INVALID,
			       "this is an ELF file for machine %u; a kernel for x86-64 is needed",
			       (unsigned)machine);
	if (head.ptr[EI_CLASS] != ELFCLASS64)
		return refuse(err, "a 32-bit ELF file");

	type = little16(head.ptr + offsetof(Elf64_Ehdr, e_type));
	if (type == ET_REL)
		return refuse(err, "an ELF object file (a kernel module?)");
	if (type == ET_CORE)
		return refuse(err, "an ELF core dump");
	if (type != ET_EXEC && type != ET_DYN)
		return refuse(err, "an ELF file of unknown type");
	return 0;
}

static struct segment segment_read(const uint8_t *from)
{
	return (struct segment){
		.type = little32(from + offsetof(Elf64_Phdr, p_type)),
		.offset = little64(from + offsetof(Elf64_Phdr, p_offset)),
		.virtual_address = little64(from + offsetof(Elf64_Phdr, p_vaddr)),
		.address = little64(from + offsetof(Elf64_Phdr, p_paddr)),
		.file_size = little64(from + offsetof(Elf64_Phdr, p_filesz)),
		.memory_size = little64(from + offsetof(Elf64_Phdr, p_memsz)),
	};
}

static int check_segment(const struct segment *segment, size_t index, uint64_t file_size,
			 struct err *err)
{
	if (segment->offset > file_size || segment->file_size > file_size - segment->offset)
		return err_set(err, ERR_INVALID, "ELF segment %zu reaches past the end of the file",
			       index);
	if (segment->type != PT_LOAD)
		return 0;
	if (segment->memory_size > ELF_SEGMENT_SIZE_MAX)
		return err_set(err, ERR_INVALID, "ELF segment %zu is huge: 0x%llx bytes of memory",
			       index, (unsigned long long)segment->memory_size);
	if (segment->file_size > segment->memory_size)
		return err_set(err, ERR_INVALID,
			       "ELF segment %zu is larger in the file than in memory", index);
	if (segment->address > ELF_ADDRESS_MAX)
		return err_set(err, ERR_INVALID,
			       "ELF segment %zu is loaded at 0x%llx, beyond all memory", index,
			       (unsigned long long)segment->address);
	return 0;
}

/* Whether two segments share memory; sizes and addresses have been checked, so nothing overflows.
 */
static bool segments_overlap(const struct segment *a, const struct segment *b)
{
	return a->address < b->address + b->memory_size && b->address < a->address + a->memory_size;
}

static bool segment_holds(const struct segment *segment, uint64_t address)
{
	return address - segment->address < segment->memory_size ||
	       address - segment->virtual_address < segment->memory_size;
}

static int check_segments(const struct segment *segments, size_t count, uint64_t entry,
			  struct err *err)
{
	bool has_entry = false;

	for (size_t i = 0; i < count; i++) {
		if (segments[i].type != PT_LOAD || segments[i].memory_size == 0)
			continue;
		if (segment_holds(&segments[i], entry))
			has_entry = true;
		for (size_t j = 0; j < i; j++)
			if (segments[j].type == PT_LOAD && segments[j].memory_size > 0 &&
			    segments_overlap(&segments[i], &segments[j]))
				return err_set(err, ERR_INVALID,
					       "ELF segments %zu and %zu overlap in memory", j, i);
	}
	if (!has_entry)
		return err_set(err, ERR_INVALID, "ELF entry point 0x%llx is in no loaded segment",
			       (unsigned long long)entry);
	return 0;
}

static int parse_elf(struct span head, uint64_t file_size, struct kernel_image *image,
		     struct err *err)
{
	struct segment segments[ELF_SEGMENTS_MAX];
	struct span table;
	uint64_t offset;
	size_t count;
	int r;

	r = check_elf_identity(head, err);
	if (r < 0)
		return r;

	offset = little64(head.ptr + offsetof(Elf64_Ehdr, e_phoff));
	count = little16(head.ptr + offsetof(Elf64_Ehdr, e_phnum));
	image->entry = little64(head.ptr + offsetof(Elf64_Ehdr, e_entry));
	if (count == 0)
		return refuse(err, "an ELF file without program headers");
	if (count > ELF_SEGMENTS_MAX)
		return err_set(err, ERR_INVALID, "ELF file with %zu program headers; at most %d",
			       count, ELF_SEGMENTS_MAX);
	if (little16(head.ptr + offsetof(Elf64_Ehdr, e_phentsize)) != sizeof(Elf64_Phdr) ||
	    !span_slice(head, offset, count * sizeof(Elf64_Phdr), &table))
		return err_set(err, ERR_INVALID,
			       "ELF program headers are damaged or not near the start of the file");

	for (size_t i = 0; i < count; i++) {
		segments[i] = segment_read(table.ptr + i * sizeof(Elf64_Phdr));
		r = check_segment(&segments[i], i, file_size, err);
		if (r < 0)
			return r;
		if (segments[i].type == PT_INTERP)
			return refuse(err, "an ELF program that runs on a kernel");
		if (segments[i].type == PT_NOTE && segments[i].file_size <= NOTE_SIZE_MAX) {
			image->note_offset = segments[i].offset;
			image->note_size = segments[i].file_size;
		}
	}
	image->format = KERNEL_FORMAT_ELF;
	return check_segments(segments, count, image->entry, err);
}

static bool is_version_byte(uint8_t byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
	       (byte >= 'A' && byte <= 'Z') || (byte != '\0' && strchr(".-+~_:", byte));
}

/* Copies the leading word of version bytes; what does not fit or has no end is left out entirely.
 */
static void take_word(struct span from, char into[static KERNEL_RELEASE_MAX + 1])
{
	size_t len = 0;

	while (len < from.len && is_version_byte(from.ptr[len]))
		len++;
	if (len == 0 || len > KERNEL_RELEASE_MAX || len == from.len)
		return;
	memcpy(into, from.ptr, len);
	into[len] = '\0';
}

/* "6.1.0-56-cloud-amd64 (builder) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-01-01)" */
static void parse_banner(struct span head, struct kernel_image *image)
{
	static const char debian[] = " Debian ";
	const uint64_t offset = little16(head.ptr + BOOT_KERNEL_VERSION);
	struct span banner;
	const uint8_t *end;
	const uint8_t *word;

	if (offset == 0)
		return;
	banner = span_skip(head, (size_t)offset + BOOT_SECTOR_SIZE);
	end = banner.len > 0 ? memchr(banner.ptr, '\0', banner.len) : NULL;
	if (!end)
		return;

	/* With its terminator, so that the last word has an end too. */
	banner.len = (size_t)(end - banner.ptr) + 1;
	take_word(banner, image->release);
	word = memmem(banner.ptr, banner.len, debian, sizeof(debian) - 1);
	if (word)
		take_word(span_skip(banner, (size_t)(word - banner.ptr) + sizeof(debian) - 1),
			  image->version);
}

static int parse_bzimage(struct span head, uint64_t file_size, struct kernel_image *image,
			 struct err *err)
{
	uint64_t setup_sectors;
	uint64_t payload_offset;
	uint64_t payload_size;

	image->boot_protocol = little16(head.ptr + BOOT_VERSION);
	if (image->boot_protocol < BOOT_VERSION_PAYLOAD)
		return err_set(
			err, ERR_INVALID,
			"this is a bzImage of boot protocol %u.%02u; 2.08 or newer is needed",
			(unsigned)image->boot_protocol >> 8,
			(unsigned)image->boot_protocol & 0xffU);
	if (!(head.ptr[BOOT_LOAD_FLAGS] & BOOT_LOADED_HIGH))
		return refuse(err, "a zImage");
	if (image->boot_protocol < BOOT_VERSION_XLOAD ||
	    !(little16(head.ptr + BOOT_XLOAD_FLAGS) & BOOT_XLF_KERNEL_64))
		return refuse(err, "a bzImage for 32-bit x86");

	/* 0 means 4, for the sake of very old boot loaders; the boot sector comes on top. */
	setup_sectors = head.ptr[BOOT_SETUP_SECTORS] ? head.ptr[BOOT_SETUP_SECTORS] : 4;
	payload_offset = (setup_sectors + 1) * BOOT_SECTOR_SIZE +
			 (uint64_t)little32(head.ptr + BOOT_PAYLOAD_OFFSET);
	payload_size = little32(head.ptr + BOOT_PAYLOAD_LENGTH);
	if (payload_size == 0)
		return refuse(err, "a bzImage without a compressed kernel in it");
	if (payload_offset > file_size || payload_size > file_size - payload_offset)
		return refuse(err, "a bzImage cut short");

	image->format = KERNEL_FORMAT_BZIMAGE;
	image->payload_offset = payload_offset;
	image->payload_size = payload_size;
	parse_banner(head, image);
	return 0;
}

static bool is_bzimage(struct span head)
{
	return head.len >= BOOT_HEADER_END && little16(head.ptr + BOOT_SECTOR_MAGIC) == 0xaa55 &&
	       memcmp(head.ptr + BOOT_HEADER_MAGIC, "HdrS", 4) == 0;
}

static int refuse_pe(struct span head, struct err *err)
{
	struct span header;

	if (head.len < 0x40 || !span_slice(head, little32(head.ptr + 0x3c), 6, &header) ||
	    memcmp(header.ptr, "PE\0", 4) != 0)
		return refuse(err, "a DOS program");

	for (size_t i = 0; i < ARRAY_LEN(pe_machines); i++)
		if (little16(header.ptr + 4) == pe_machines[i].machine)
			return err_set(
				err, ERR_INVALID,
				"this is an EFI program (PE) for %s without a Linux boot header; "
				"a kernel is an x86-64 ELF file (vmlinux) or a bzImage",
				pe_machines[i].name);
	return refuse(err, "an EFI program (PE) for an unknown machine");
}

static int refuse_stranger(struct span head, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
		struct span magic;

		if (span_slice(head, strangers[i].offset, strangers[i].len, &magic) &&
		    memcmp(magic.ptr, strangers[i].magic, strangers[i].len) == 0)
			return refuse(err, strangers[i].what);
	}
	if (head.len >= 2 && memcmp(head.ptr, "MZ", 2) == 0)
		return refuse_pe(head, err);
	return refuse(err, "neither");
}

int kernel_image_parse(struct span head, uint64_t file_size, struct kernel_image *ret,
		       struct err *err)
{
	struct kernel_image image = { 0 };
	int r;

	if (file_size == 0)
		return refuse(err, "an empty file");
	if (file_size > KERNEL_FILE_SIZE_MAX)
		return err_set(
			err, ERR_LIMIT, "this file has %llu bytes; a kernel has at most %llu",
			(unsigned long long)file_size, (unsigned long long)KERNEL_FILE_SIZE_MAX);

	if (head.len >= SELFMAG && memcmp(head.ptr, ELFMAG, SELFMAG) == 0)
		r = parse_elf(head, file_size, &image, err);
	else if (is_bzimage(head))
		r = parse_bzimage(head, file_size, &image, err);
	else
		r = refuse_stranger(head, err);
	if (r < 0)
		return r;

	*ret = image;
	return 0;
}

void kernel_image_notes(struct span notes, struct kernel_image *image)
{
	while (notes.len >= sizeof(Elf64_Nhdr)) {
		const uint64_t name_size = little32(notes.ptr);
		const uint64_t value_size = little32(notes.ptr + 4);
		const uint32_t type = little32(notes.ptr + 8);
		const uint64_t value_at = sizeof(Elf64_Nhdr) + ((name_size + 3) & ~3ULL);
		struct span name;
		struct span value;

		if (!span_slice(notes, sizeof(Elf64_Nhdr), name_size, &name) ||
		    !span_slice(notes, value_at, value_size, &value))
			return;
		if (type == XEN_PVH_ENTRY_NOTE && span_eq(name, span_of("Xen", 4)) &&
		    (value_size == 4 || value_size == 8)) {
			image->has_pvh = true;
			image->pvh_entry = little32(value.ptr);
			return;
		}
		notes = span_skip(notes, (size_t)(value_at + ((value_size + 3) & ~3ULL)));
	}
}

/* Reads up to `size` bytes at an offset without moving the file's own. */
static int read_at(int fd, uint64_t offset, size_t size, struct buf *into)
{
	buf_reserve(into, size);
	while (size > 0) {
		const ssize_t n = pread(fd, into->ptr + into->len, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		buf_advance(into, (size_t)n);
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int kernel_image_read(int fd, struct kernel_image *ret, struct err *err)
{
	AUTO_BUF head = BUF_INIT;
	AUTO_BUF notes = BUF_INIT;
	struct kernel_image image;
	struct stat info;
	int r;

	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine the kernel file");
	if (!S_ISREG(info.st_mode))
		return refuse(err, "not a regular file");

	r = read_at(fd, 0, KERNEL_HEAD_SIZE, &head);
	if (r < 0)
		return err_sys(err, r, "read the kernel file");
	r = kernel_image_parse(buf_span(&head), (uint64_t)info.st_size, &image, err);
	if (r < 0)
		return r;

	if (image.note_size > 0) {
		r = read_at(fd, image.note_offset, (size_t)image.note_size, &notes);
		if (r < 0)
			return err_sys(err, r, "read the kernel file's notes");
		kernel_image_notes(buf_span(&notes), &image);
	}
	*ret = image;
	return 0;
}
