/*
 * What runs in a guest, for any POSIX sh. The guest's repository has a second one of ours inside
 * it, ".git/banger": its index says what the files were when they were shipped, byte for byte
 * (info/attributes turns all conversions off), so git itself tells what the guest has changed since
 * and refuses to overwrite that. Its objects are the content that was shipped and that no commit
 * has: an export begins with it.
 *
 * "new" as $2: the folder is being made, and goes when the script fails or the host leaves.
 */
#pragma once

/* $1 folder. Says "git KIND", and of one of ours, whole or half done, HEAD, its branch, the tree of
 * what was shipped and the manifest. */
extern const char script_look[];

/* $1 folder, $2 a branch, $3 its name under refs/banger/put/. Says its commit, where it was put,
 * and "refs/heads/NAME" of one that leaves no room for it; "-" for each that is not. */
extern const char script_refs[];

/* $1 folder. Files of which its index and the working tree have different content, as `git
 * diff-files --raw` has them. */
extern const char script_staged[];

/* $1 folder to be, $2 object format, $3 pack, $4 origin, $5 name, $6 email. A pack on its input:
 * "bare" where script_index() follows, "whole" where the guest is to index it, or "none". Says
 * where it is made. */
extern const char script_begin[];

/* $1 folder that is being made: removes it when the host leaves. */
extern const char script_hold[];

/* $1 folder, $2 "bare" or "whole". A pack on its input. */
extern const char script_pack[];

/* $1 folder, $2 new or old, $3 name of the pack that has come. Its index on its input. */
extern const char script_index[];

/*
 * $1 folder, $2 new or old, $3 take (a stream of content.h on its input) or again (the same files
 * once more); then names of what the stream had, or "": $4 index_info, $5 skip, $6 unskip; $7
 * manifest; $8 HEAD to be or "", $9 its branch or "", $10 where history ends ("OID..."), $11 stay,
 * move or full (history), $12 moves where HEAD and branch are to be set; commits of the guest's
 * that they had stay under refs/banger/kept; $13 adds where there are files that are new; $14 the
 * branch's name under refs/banger/put, which says where it was put. Status 9:
 * what the guest has changed is in the way, and it says which of its files are not as shipped
 * ("M\0path\0"...), an empty one, which are there that were not shipped, an empty one, and git's
 * reason.
 */
#define APPLY_CONFLICT 9
extern const char script_apply[];
/* Its other half, behind it in the same text: the index, HEAD, and the record of all. */
extern const char script_record[];
/* How many arguments it has. It keeps them before its first change, each with a NUL behind it, and
 * the manifest to be; with that it is half done until it is the manifest. */
#define APPLY_ARGS 14

/* $1 folder that is half done. Says the arguments that were kept. */
extern const char script_pending[];

/* $1 folder, $2 the name of a list that went along with files. Says it. */
extern const char script_note[];

/* $1 folder. Index lines for paths on its input; says which files are still others then. */
extern const char script_compare[];

/* $1 folder. Takes what script_compare() has tried; writes the paths on its input from it. */
extern const char script_take[];

/* $1 folder. Removes the paths on its input. */
extern const char script_remove[];

/* $1 folder as made, $2 its place. */
extern const char script_publish[];

/* $1 folder that was being made. */
extern const char script_discard[];
