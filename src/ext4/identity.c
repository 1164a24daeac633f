#include "ext4/identity.h"

#include <endian.h>
#include <ext2fs/ext2fs.h>
#include <string.h>

/* Four checksums with different starts over the same bytes. */
struct digest {
	uint32_t words[4];
};

static void digest_add(struct digest *digest, const void *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < 4; i++)
		digest->words[i] = ext2fs_crc32c_le(digest->words[i], bytes, size) + (uint32_t)i;
}

static void digest_add_u64(struct digest *digest, uint64_t value)
{
	value = htole64(value);
	digest_add(digest, &value, sizeof(value));
}

static void digest_entry(struct digest *digest, const struct tree *tree, uint32_t at)
{
	const struct tree_entry *entry = &tree->entries[at];
	const struct tree_inode *inode = &tree->inodes[entry->inode];
	const struct tree_attributes *a = &inode->attributes;
	struct span name = tree_entry_name(tree, at);

	digest_add(digest, name.ptr, name.len);
	digest_add_u64(digest, (uint64_t)entry->folder << 32 | entry->inode);
	digest_add_u64(digest, (uint64_t)a->uid << 32 | a->gid);
	digest_add_u64(digest, (uint64_t)a->mode << 32 | a->mtime_nsec);
	digest_add_u64(digest, (uint64_t)a->mtime);
	digest_add_u64(digest, inode->size);
}

static bool is_zero(const uint8_t uuid[static 16])
{
	static const uint8_t zero[16];

	return memcmp(uuid, zero, sizeof(zero)) == 0;
}

void identity_make(const struct tree *tree, const uint8_t uuid[static 16], struct fs_identity *ret)
{
	struct digest digest = { { 0x62616e67, 0x65722065, 0x78743420, 0x75756964 } };
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (is_zero(uuid)) {
		for (i = 0; i < tree->entry_count; i++) {
			if (tree->entries[i].folder != TREE_NONE)
				digest_entry(&digest, tree, (uint32_t)i);
		}
		for (i = 0; i < 4; i++)
			digest.words[i] = htole32(digest.words[i]);
		memcpy(ret->uuid, digest.words, sizeof(ret->uuid));
		/* RFC 9562, version 8: made by rules of one's own. */
		ret->uuid[6] = (uint8_t)((ret->uuid[6] & 0x0f) | 0x80);
		ret->uuid[8] = (uint8_t)((ret->uuid[8] & 0x3f) | 0x80);
	} else {
		memcpy(ret->uuid, uuid, sizeof(ret->uuid));
	}
	ret->checksum_seed = ext2fs_crc32c_le(~0U, ret->uuid, sizeof(ret->uuid));
	for (i = 0; i < 4; i++)
		ret->hash_seed[i] = ext2fs_crc32c_le((uint32_t)i + 1, ret->uuid, sizeof(ret->uuid));
}

uint32_t identity_inode_seed(const struct fs_identity *identity, uint32_t inode)
{
	uint32_t words[2] = { htole32(inode), 0 };

	return ext2fs_crc32c_le(identity->checksum_seed, (const unsigned char *)words,
				sizeof(words));
}
