#include "kernel_fixture.h"

#define ZLIB_CONST
#include <assert.h>
#include <elf.h>
#include <lz4hc.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

void put16(struct buf *buf, size_t at, uint16_t value)
{
	buf->ptr[at] = (char)(value & 0xff);
	buf->ptr[at + 1] = (char)(value >> 8);
}

void put32(struct buf *buf, size_t at, uint32_t value)
{
	put16(buf, at, (uint16_t)(value & 0xffff));
	put16(buf, at + 2, (uint16_t)(value >> 16));
}

void put64(struct buf *buf, size_t at, uint64_t value)
{
	put32(buf, at, (uint32_t)(value & 0xffffffffU));
	put32(buf, at + 4, (uint32_t)(value >> 32));
}

void pad_to(struct buf *buf, size_t size)
{
	while (buf->len < size)
		buf_add_byte(buf, 0);
}

static void elf_header(struct buf *out, uint16_t type)
{
	pad_to(out, sizeof(Elf64_Ehdr));
	memcpy(out->ptr, ELFMAG, SELFMAG);
	out->ptr[EI_CLASS] = ELFCLASS64;
	out->ptr[EI_DATA] = ELFDATA2LSB;
	out->ptr[EI_VERSION] = EV_CURRENT;
	put16(out, offsetof(Elf64_Ehdr, e_type), type);
	put16(out, offsetof(Elf64_Ehdr, e_machine), EM_X86_64);
	put16(out, offsetof(Elf64_Ehdr, e_ehsize), sizeof(Elf64_Ehdr));
}

static void segment(struct buf *out, size_t at, uint32_t type, uint64_t offset, uint64_t address)
{
	put32(out, at + offsetof(Elf64_Phdr, p_type), type);
	put64(out, at + offsetof(Elf64_Phdr, p_offset), offset);
	put64(out, at + offsetof(Elf64_Phdr, p_vaddr), 0xffffffff80000000ULL + address);
	put64(out, at + offsetof(Elf64_Phdr, p_paddr), address);
	put64(out, at + offsetof(Elf64_Phdr, p_filesz), 256);
	put64(out, at + offsetof(Elf64_Phdr, p_memsz), 256);
}

void fixture_elf(struct buf *out)
{
	elf_header(out, ET_EXEC);
	put64(out, offsetof(Elf64_Ehdr, e_phoff), sizeof(Elf64_Ehdr));
	put64(out, offsetof(Elf64_Ehdr, e_entry), 0x1000010);
	put16(out, offsetof(Elf64_Ehdr, e_phentsize), sizeof(Elf64_Phdr));
	put16(out, offsetof(Elf64_Ehdr, e_phnum), 3);
	pad_to(out, FIXTURE_ELF_SIZE);
	segment(out, FIXTURE_SEGMENT_0, PT_LOAD, 0x200, 0x1000000);
	segment(out, FIXTURE_SEGMENT_1, PT_LOAD, 0x300, 0x1001000);
	segment(out, FIXTURE_NOTE, PT_NOTE, 0x180, 0);
	put64(out, FIXTURE_NOTE + offsetof(Elf64_Phdr, p_filesz), 40);

	/* A note that is none of ours, then Xen's type 18 with the entry. */
	put32(out, 0x180, 4);
	put32(out, 0x184, 4);
	put32(out, 0x188, 1);
	memcpy(out->ptr + 0x18c, "GNU", 4);
	put32(out, 0x194, 4);
	put32(out, 0x198, 4);
	put32(out, 0x19c, 18);
	memcpy(out->ptr + 0x1a0, "Xen", 4);
	put32(out, 0x1a4, 0x1000040);
}

void fixture_bzimage(struct span payload, struct buf *out)
{
	static const char banner[] =
		"6.1.0-1-test (someone@somewhere) #1 SMP Debian 6.1.2-3 (2026-01-01)";

	pad_to(out, 1024);
	memcpy(out->ptr, "MZ", 2);
	out->ptr[0x1f1] = 1; /* setup sectors, so the kernel is at 1024 */
	put16(out, 0x1fe, 0xaa55);
	memcpy(out->ptr + 0x202, "HdrS", 4);
	put16(out, 0x206, 0x020f);
	put16(out, 0x20e, 0x300 - 0x200);
	out->ptr[0x211] = 1;
	put16(out, 0x236, 1);
	put32(out, 0x248, 16);
	put32(out, 0x24c, (uint32_t)payload.len);
	memcpy(out->ptr + 0x300, banner, sizeof(banner));
	pad_to(out, 1024 + 16);
	buf_add(out, payload);
}

void fixture_module(struct span modinfo, struct buf *out)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	const size_t names_at = sizeof(Elf64_Ehdr);
	const size_t modinfo_at = names_at + 32;
	const size_t table_at = (modinfo_at + modinfo.len + 7) / 8 * 8;

	elf_header(out, ET_REL);
	put64(out, offsetof(Elf64_Ehdr, e_shoff), table_at);
	put16(out, offsetof(Elf64_Ehdr, e_shentsize), sizeof(Elf64_Shdr));
	put16(out, offsetof(Elf64_Ehdr, e_shnum), 3);
	put16(out, offsetof(Elf64_Ehdr, e_shstrndx), 2);
	buf_add(out, span_of(names, sizeof(names)));
	pad_to(out, modinfo_at);
	buf_add(out, modinfo);
	pad_to(out, table_at + 3 * sizeof(Elf64_Shdr));
	for (size_t i = 1; i < 3; i++) {
		const size_t at = table_at + i * sizeof(Elf64_Shdr);

		put32(out, at + offsetof(Elf64_Shdr, sh_name), i == 1 ? 1 : 10);
		put64(out, at + offsetof(Elf64_Shdr, sh_offset), i == 1 ? modinfo_at : names_at);
		put64(out, at + offsetof(Elf64_Shdr, sh_size),
		      i == 1 ? modinfo.len : sizeof(names));
	}
}

static void add_size(struct buf *out, size_t size)
{
	buf_reserve(out, 4);
	put32(out, out->len, (uint32_t)size);
	buf_advance(out, 4);
}

static void compress_gzip(struct span bytes, struct buf *out)
{
	z_stream stream = { 0 };
	int z;

	z = deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
	assert(z == Z_OK);
	buf_reserve(out, bytes.len + 1024);
	stream.next_in = bytes.ptr;
	stream.avail_in = (uInt)bytes.len;
	stream.next_out = (uint8_t *)out->ptr + out->len;
	stream.avail_out = (uInt)bytes.len + 1024;
	z = deflate(&stream, Z_FINISH);
	assert(z == Z_STREAM_END);
	buf_advance(out, stream.total_out);
	(void)deflateEnd(&stream);
}

static void compress_lz4(struct span bytes, struct buf *out)
{
	static const size_t block = 8U << 20;

	buf_add(out, span_of("\x02\x21\x4c\x18", 4));
	while (bytes.len > 0) {
		const size_t part = bytes.len < block ? bytes.len : block;
		int size;

		buf_reserve(out, part + part / 128 + 1024);
		size = LZ4_compress_HC((const char *)bytes.ptr, out->ptr + out->len + 4, (int)part,
				       LZ4_COMPRESSBOUND((int)part), 4);
		assert(size > 0);
		put32(out, out->len, (uint32_t)size);
		buf_advance(out, 4 + (size_t)size);
		bytes = span_skip(bytes, part);
	}
}

void fixture_compress(enum kernel_compression compression, struct span bytes, struct buf *out)
{
	size_t size;
	lzma_ret z;

	switch (compression) {
	case KERNEL_COMPRESSION_GZIP:
		compress_gzip(bytes, out);
		return; /* its own trailer has the size */
	case KERNEL_COMPRESSION_LZ4:
		compress_lz4(bytes, out);
		break;
	case KERNEL_COMPRESSION_XZ:
		buf_reserve(out, bytes.len + 1024);
		size = 0;
		z = lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, bytes.ptr, bytes.len,
					    (uint8_t *)out->ptr + out->len, &size,
					    bytes.len + 1024);
		assert(z == LZMA_OK);
		buf_advance(out, size);
		break;
	case KERNEL_COMPRESSION_ZSTD:
		buf_reserve(out, ZSTD_compressBound(bytes.len));
		size = ZSTD_compress(out->ptr + out->len, ZSTD_compressBound(bytes.len), bytes.ptr,
				     bytes.len, 3);
		assert(!ZSTD_isError(size));
		buf_advance(out, size);
		break;
	case KERNEL_COMPRESSION_NONE:
	case KERNEL_COMPRESSION_COUNT:
		buf_add(out, bytes);
		return;
	}
	add_size(out, bytes.len);
}
