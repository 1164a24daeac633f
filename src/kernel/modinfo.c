#include <elf.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "kernel/little.h"
#include "kernel/modules.h"

#define SECTION_NAME ".modinfo"
#define SECTIONS_MAX \
	65536 /* e_shnum has 16 bits; modules built with -ffunction-sections have thousands */

struct section {
	uint32_t name;
	uint64_t offset;
	uint64_t size;
};

void modinfo_done(struct modinfo *info)
{
	strv_done(&info->depends);
	info->name[0] = '\0';
}

static int refuse(struct err *err, const char *why)
{
	return err_set(err, ERR_INVALID, "this is no kernel module for x86-64: %s", why);
}

/* The caller has checked that `index` is in the table. */
static struct section section_at(struct span table, size_t index)
{
	const uint8_t *from = table.ptr + index * sizeof(Elf64_Shdr);

	return (struct section){
		.name = little32(from + offsetof(Elf64_Shdr, sh_name)),
		.offset = little64(from + offsetof(Elf64_Shdr, sh_offset)),
		.size = little64(from + offsetof(Elf64_Shdr, sh_size)),
	};
}

static bool name_is(struct span names, uint32_t at, const char *wanted)
{
	struct span name;

	return span_slice(names, at, strlen(wanted) + 1, &name) &&
	       memcmp(name.ptr, wanted, name.len) == 0;
}

static int find_section(struct span ko, struct span *ret, struct err *err)
{
	struct span table;
	struct span names;
	struct section section;
	size_t count;
	size_t names_index;

	if (ko.len < sizeof(Elf64_Ehdr) || memcmp(ko.ptr, ELFMAG, SELFMAG) != 0)
		return refuse(err, "not an ELF file");
	if (ko.ptr[EI_CLASS] != ELFCLASS64 || ko.ptr[EI_DATA] != ELFDATA2LSB ||
	    little16(ko.ptr + offsetof(Elf64_Ehdr, e_machine)) != EM_X86_64)
		return refuse(err, "an ELF file for another machine");
	if (little16(ko.ptr + offsetof(Elf64_Ehdr, e_type)) != ET_REL)
		return refuse(err, "an ELF file that is no object file");

	count = little16(ko.ptr + offsetof(Elf64_Ehdr, e_shnum));
	names_index = little16(ko.ptr + offsetof(Elf64_Ehdr, e_shstrndx));
	_Static_assert(UINT16_MAX < SECTIONS_MAX, "the count needs no limit of its own");
	if (little16(ko.ptr + offsetof(Elf64_Ehdr, e_shentsize)) != sizeof(Elf64_Shdr) ||
	    !span_slice(ko, little64(ko.ptr + offsetof(Elf64_Ehdr, e_shoff)),
			count * sizeof(Elf64_Shdr), &table) ||
	    names_index >= count)
		return refuse(err, "its section headers are damaged");
	section = section_at(table, names_index);
	if (!span_slice(ko, section.offset, section.size, &names))
		return refuse(err, "its section names are damaged");

	for (size_t i = 0; i < count; i++) {
		section = section_at(table, i);
		if (!name_is(names, section.name, SECTION_NAME))
			continue;
		if (!span_slice(ko, section.offset, section.size, ret))
			return refuse(err, "its .modinfo reaches past its end");
		return 0;
	}
	return refuse(err, "it has no .modinfo");
}

static bool is_name_byte(uint8_t byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

static bool is_name(struct span text)
{
	if (text.len == 0 || text.len > MODULE_NAME_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!is_name_byte(text.ptr[i]))
			return false;
	return true;
}

/* The kernel takes "-" and "_" in names for the same. */
static void copy_name(struct span name, char into[static MODULE_NAME_MAX + 1])
{
	for (size_t i = 0; i < name.len; i++)
		into[i] = (char)(name.ptr[i] == '-' ? '_' : name.ptr[i]);
	into[name.len] = '\0';
}

static int take_depends(struct span text, struct modinfo *info, struct err *err)
{
	while (text.len > 0) {
		char name[MODULE_NAME_MAX + 1];
		struct span word = text;

		if (!parse_until(&text, ',', &word))
			text.len = 0;
		if (!is_name(word))
			return refuse(err, "a bad name in 'depends='");
		if (info->depends.count == MODULE_DEPENDS_MAX)
			return err_set(err, ERR_LIMIT,
				       "a kernel module depends on more than %d others",
				       MODULE_DEPENDS_MAX);
		copy_name(word, name);
		strv_add(&info->depends, name);
	}
	return 0;
}

/* One "key=value"; what is neither name nor depends is of no interest. */
static int take_entry(struct span entry, struct modinfo *info, struct err *err)
{
	if (parse_literal(&entry, "depends="))
		return take_depends(entry, info, err);
	if (parse_literal(&entry, "name=")) {
		if (!is_name(entry))
			return refuse(err, "a bad 'name='");
		copy_name(entry, info->name);
	}
	return 0;
}

static void give(struct modinfo *from, struct modinfo *ret)
{
	*ret = *from;
	*from = (struct modinfo){ .name = "" };
}

int modinfo_read(struct span ko, struct modinfo *ret, struct err *err)
{
	CLEANUP(modinfo_done) struct modinfo info = { .name = "" };
	struct span section;
	int r;

	r = find_section(ko, &section, err);
	if (r < 0)
		return r;
	while (section.len > 0) {
		struct span entry = section;

		/* Entries end with NUL, and some NULs of padding may follow. */
		if (!parse_until(&section, '\0', &entry))
			section.len = 0;
		r = take_entry(entry, &info, err);
		if (r < 0)
			return r;
	}
	give(&info, ret);
	return 0;
}

bool module_name_of_path(const char *path, char ret[static MODULE_NAME_MAX + 1])
{
	static const char *const suffixes[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;

	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		const size_t len = strlen(file);
		const size_t cut = strlen(suffixes[i]);

		if (!str_ends(file, suffixes[i]) || !is_name(span_of(file, len - cut)))
			continue;
		copy_name(span_of(file, len - cut), ret);
		return true;
	}
	return false;
}
