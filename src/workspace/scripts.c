#include "workspace/scripts.h"

/* Names that a host's git has let pass are taken as they are; files over 16 MiB are not held in
 * memory. */
#define GIT "git -c core.protectNTFS=false -c core.protectHFS=false -c core.bigFileThreshold=16m "

#define GOES_WHEN_NEW                                                                            \
	"d=$1\n"                                                                                 \
	"if [ \"$2\" = new ]; then\n"                                                            \
	"  trap 'r=$?; trap - EXIT; trap \"\" HUP INT TERM; cd /; [ $r = 0 ] || rm -rf \"$d\"; " \
	"exit $r' EXIT\n"                                                                        \
	"  trap 'exit 129' HUP INT TERM\n"                                                       \
	"fi\n"

#define ENTER             \
	"set -e\n"        \
	"cd \"$1\"\n"     \
	"b=.git/banger\n" \
	"export GIT_WORK_TREE=.\n"

const char script_look[] =
	"if command -v git >/dev/null 2>&1; then g=git; else g=none; fi\n"
	"d=$1\n"
	"if [ ! -e \"$d\" ] && [ ! -L \"$d\" ]; then k=absent\n"
	"elif [ -f \"$d/.git/banger/manifest.new\" ]; then k=half\n"
	"elif [ -f \"$d/.git/banger/manifest\" ]; then k=ours\n"
	"elif [ -d \"$d\" ] && [ -z \"$(ls -A \"$d\")\" ]; then k=empty\n"
	"else k=foreign; fi\n"
	"echo \"$g $k\"\n"
	"case $g$k in gitours | githalf) ;; *) exit 0 ;; esac\n"
	"cd \"$d\" || exit 1\n"
	/* One call says both, where there is a commit. */
	"n='\n'\n"
	"if a=$(git rev-parse HEAD --symbolic-full-name HEAD 2>/dev/null); then\n"
	"  h=${a%%\"$n\"*}\n"
	"  r=${a#*\"$n\"}\n"
	"else\n"
	"  h=-\n"
	"  r=$(git symbolic-ref -q HEAD) || r=-\n"
	"fi\n"
	"read -r t <.git/banger/tree || exit 1\n"
	"printf '%s\\n%s\\n%s\\n' \"$h\" \"$r\" \"$t\"\n"
	"exec cat .git/banger/manifest\n";

const char script_refs[] =
	"cd \"$1\" || exit 1\n"
	"o=$(git rev-parse -q --verify \"refs/heads/$2\") || o=-\n"
	"p=$(git rev-parse -q --verify \"refs/banger/put/$3\") || p=-\n"
	"r=$(git for-each-ref --count=1 --format='%(refname)' \"refs/heads/$2/\")\n"
	"q=$2\n"
	"while [ \"$q\" != \"${q%/*}\" ]; do\n"
	"  q=${q%/*}\n"
	"  ! git rev-parse -q --verify \"refs/heads/$q\" >/dev/null || r=refs/heads/$q\n"
	"done\n"
	"printf '%s\\n%s\\n%s\\n' \"$o\" \"$p\" \"${r:--}\"\n";

const char script_staged[] =
	"cd \"$1\" || exit 1\n"
	"exec git diff-files -z --raw --no-abbrev --no-renames --ignore-submodules=all\n";

/* The bytes of a pack, under a name that git tidies up if it stays; nobody may write to packs. */
#define TAKE_PACK                                               \
	"(\n"                                                   \
	"  cd .git/objects/pack\n"                              \
	"  [ ! -e tmp_pack_banger ] || rm -f tmp_pack_banger\n" \
	"  umask 0333\n"                                        \
	"  cat >tmp_pack_banger\n"                              \
	")\n"

#define INDEX_PACK GIT "index-pack --stdin --fix-thin >/dev/null\n"

const char script_begin[] =
	"set -e\n"
	"case $1 in */*) p=${1%/*};; esac\n"
	"p=${p:-/}\n"
	"[ -d \"$p\" ] || mkdir -p \"$p\"\n"
	/* Another one may be under way here. What is from before this boot is nobody's. */
	"read -r i </proc/sys/kernel/random/boot_id\n"
	"for o in \"$p\"/.banger-new.*; do\n"
	"  case $o in *\"/.banger-new.$i.\"*) ;; *) [ ! -e \"$o\" ] || rm -rf \"$o\" ;; esac\n"
	"done\n"
	/* Only a name, until there is somebody who removes it. */
	"d=$(mktemp -u \"$p/.banger-new.$i.XXXXXXXXXX\")\n"
	"trap 'r=$?; trap - EXIT; trap \"\" HUP INT TERM; cd /; [ $r = 0 ] || rm -rf \"$d\"; exit "
	"$r' EXIT\n"
	"trap 'exit 129' HUP INT TERM\n"
	"mkdir -m 755 \"$d\"\n"
	"make() {\n"
	"  if [ \"$format\" = sha256 ]; then git init -q --template= --object-format=sha256 "
	"\"$@\"\n"
	"  else git init -q --template= \"$@\"; fi\n"
	"}\n"
	"format=$2\n"
	"make \"$d\"\n"
	"cd \"$d\"\n"
	"make --bare .git/banger\n"
	"mkdir -p .git/info .git/banger/info .git/banger/objects/info\n"
	"echo ../../objects >.git/banger/objects/info/alternates\n"
	"echo '* -text -crlf -eol -ident -filter -working-tree-encoding' "
	">.git/banger/info/attributes\n"
	"printf '[core]\\n\\tbare = false\\n\\tautocrlf = false\\n' >>.git/banger/config\n"
	"if [ -n \"$4\" ]; then\n"
	"  git config remote.origin.url \"$4\"\n"
	"  git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'\n"
	"fi\n"
	"[ -z \"$5\" ] || git config user.name \"$5\"\n"
	"[ -z \"$6\" ] || git config user.email \"$6\"\n"
	"case $3 in\n"
	"bare)\n" TAKE_PACK ";;\n"
	"whole)\n" INDEX_PACK ";;\n"
	"esac\n"
	"printf '%s' \"$d\"\n";

const char script_hold[] = "d=$1\n"
			   "trap 'trap - EXIT; trap \"\" HUP INT TERM; rm -rf \"$d\"' EXIT\n"
			   "trap 'exit 129' HUP INT TERM\n"
			   "cat >/dev/null\n";

const char script_pack[] = "set -e\n"
			   "cd \"$1\"\n"
			   "if [ \"$2\" = bare ]; then\n" TAKE_PACK "else\n" INDEX_PACK "fi\n";

/* The pack first: git knows a pack by its index. What git itself would do, it is on the disk then.
 */
const char script_index[] =
	GOES_WHEN_NEW "set -e\n"
		      "cd \"$d/.git/objects/pack\"\n"
		      "[ ! -e tmp_idx_banger ] || rm -f tmp_idx_banger\n"
		      "(umask 0333; cat >tmp_idx_banger)\n"
		      "sync tmp_pack_banger tmp_idx_banger 2>/dev/null || sync\n"
		      "mv -f tmp_pack_banger \"pack-$3.pack\"\n"
		      "mv -f tmp_idx_banger \"pack-$3.idx\"\n";

/*
 * Of the paths that are to be new, those at whose place, or above it, something is that was not
 * shipped. read-tree itself stops for such a file unless it is ignored: that one it would
 * overwrite.
 */
#define IN_THE_WAY                                                                             \
	"for p do\n"                                                                           \
	"  q=$p; hit=\n"                                                                       \
	"  while :; do\n"                                                                      \
	"    if [ -L \"$q\" ] || { [ -e \"$q\" ] && "                                          \
	"{ [ \"$q\" = \"$p\" ] || [ ! -d \"$q\" ]; }; }; then hit=$q; fi\n"                    \
	"    case $q in */*) q=${q%/*} ;; *) break ;; esac\n"                                  \
	"  done\n"                                                                             \
	"  [ -n \"$hit\" ] || continue\n"                                                      \
	"  [ -z \"$(git ls-files -o -- \"$hit\" | head -c 1)\" ] || printf \"%s\\0\" \"$p\"\n" \
	"done"

/*
 * The tree of the files to be is made with their content, from what was shipped last and what is
 * different now; then read-tree takes the files from the one tree to the other. It looks before it
 * writes: a file that is not as it was shipped, or stands where a new one is to be, stops it.
 * (Files that were only touched make it ask again after a refresh.)
 *
 * A program that is started costs a guest without KVM 30 ms: none is that need not be.
 */
const char script_apply[] = GOES_WHEN_NEW ENTER
	"note() { GIT_DIR=$b git cat-file blob \"$1\"; }\n"
	"for f in $b/*.lock; do\n"
	"  [ ! -e \"$f\" ] || rm -f \"$f\"\n"
	"done\n"
	"if [ \"$3\" = take ]; then\n"
	"  t=$(GIT_DIR=$b " GIT "-c core.bigFileThreshold=1m -c core.compression=0 "
	"-c pack.compression=0 -c fastimport.unpackLimit=0 fast-import --quiet --force)\n"
	"  t=${t#* * }\n"
	"  t=${t%%[!0-9a-f]*}\n"
	"  echo $t >$b/next\n"
	"else\n"
	"  read -r t <$b/next\n"
	"fi\n"
	"o=\n"
	"[ ! -f $b/tree ] || read -r o <$b/tree\n"
	"move() {\n"
	"  [ \"$o\" = \"$t\" ] || GIT_DIR=$b " GIT "read-tree -m -u $o $t\n"
	"}\n"
	": >$b/info/way\n"
	": >$b/info/said\n"
	"if [ -n \"$o\" ] && [ \"${13}\" = adds ]; then\n"
	"  export GIT_DIR=$b GIT_LITERAL_PATHSPECS=1\n"
	"  git diff-tree -r -z --name-only --no-renames --diff-filter=A $o $t |\n"
	"    xargs -0 sh -c '" IN_THE_WAY "' sh >$b/info/way\n"
	"  unset GIT_DIR GIT_LITERAL_PATHSPECS\n"
	"fi\n"
	"w=\n"
	"[ ! -f $b/manifest.new ] || w=half\n"
	/* From here on it is completed: now, or by the next one, which finds it half done. */
	"if [ $2 = old ] && [ ! -s $b/info/way ]; then\n"
	"  trap '' HUP INT TERM\n"
	"  printf '%s\\0' \"$@\" >$b/pending\n"
	"  note \"$7\" >$b/manifest.new\n"
	"fi\n"
	"if [ -s $b/info/way ] || ! move 2>/dev/null; then\n"
	"  GIT_DIR=$b " GIT "update-index -q --refresh >/dev/null 2>&1 || :\n"
	"  if [ -s $b/info/way ] || ! move 2>$b/info/said; then\n"
	"    [ -n \"$o\" ] || { cat $b/info/said >&2; exit 1; }\n"
	/* What it has found before it would have written is no beginning. */
	"    [ -n \"$w\" ] || ! grep -q \"^error: \\(Entry\\|Updating\\|Untracked working\\) "
	"\" $b/info/said || rm -f $b/manifest.new\n"
	"    GIT_DIR=$b git diff-files -z --name-status --no-renames\n"
	"    printf '\\0'\n"
	"    cat $b/info/way\n"
	"    printf '\\0'\n"
	"    cat $b/info/said\n"
	"    exit 9\n"
	"  fi\n"
	"fi\n"
	"[ \"$o\" = \"$t\" ] || echo $t >$b/tree\n";

/* Goes on where script_apply() has ended well. */
const char script_record[] =
	"export GIT_DIR=.git\n"
	"l=$2\n"
	"[ $l = old ] || cp $b/index .git/index\n"
	"lines() {\n"
	"  [ -n \"$1\" ] || return 0\n"
	"  l=new\n"
	"  note \"$1\" >$b/info/lines\n"
	"  shift\n"
	"  " GIT "update-index -z \"$@\" <$b/info/lines\n"
	"}\n"
	"lines \"$4\" --index-info\n"
	"lines \"$5\" --skip-worktree --stdin\n"
	"lines \"$6\" --no-skip-worktree --stdin\n"
	"if [ \"${11}\" != stay ]; then\n"
	/* Of a history that ends elsewhere; git would still check it. */
	"  for f in .git/objects/info/commit-graph*; do\n"
	"    [ ! -e \"$f\" ] || rm -rf \"$f\"\n"
	"  done\n"
	"  [ \"${11}\" = move ] || rm -f .git/shallow\n"
	"  for o in ${10}; do\n"
	"    grep -qx $o .git/shallow 2>/dev/null || echo $o >>.git/shallow\n"
	"  done\n"
	"fi\n"
	"if [ \"${12}\" = moves ]; then\n"
	"  if [ $2 = old ]; then\n"
	"    h=$(git rev-parse -q --verify HEAD) || h=\n"
	"    k=$(git rev-parse -q --verify refs/banger/head) || k=\n"
	"    o=$(git rev-parse -q --verify \"refs/heads/$9\") || o=\n"
	"    p=$(git rev-parse -q --verify \"refs/banger/put/${14}\") || p=\n"
	"    for c in $h $o; do\n"
	"      [ $c = \"$k\" ] || [ $c = \"$8\" ] || [ $c = \"$p\" ] ||\n"
	"        git update-ref \"refs/banger/kept/$c\" $c\n"
	"    done\n"
	"  fi\n"
	"  if [ -n \"$8\" ]; then\n"
	"    {\n"
	"      [ -z \"$9\" ] || printf 'update %s %s\\n' \"refs/heads/$9\" $8 "
	"\"refs/banger/put/${14}\" $8\n"
	"      echo update refs/banger/head $8\n"
	"    } | git update-ref -m 'banger: prepare' --stdin\n"
	"  fi\n"
	"  if [ -n \"$9\" ]; then git symbolic-ref -m 'banger: prepare' HEAD \"refs/heads/$9\"\n"
	"  else git update-ref -m 'banger: prepare' --no-deref HEAD $8; fi\n"
	"fi\n"
	"if [ $l = new ]; then\n"
	"  [ -z \"$4\" ] || " GIT "update-index -q --refresh >/dev/null 2>&1 || :\n"
	/* Trees that its cache names must be in this repository, not in ours. */
	"  " GIT "write-tree >/dev/null 2>&1 || :\n"
	"fi\n"
	/* The empty tree is one that git never writes. */
	"[ -n \"$8\" ] || [ -n \"$(git ls-files | head -c 1)\" ] || rm -f .git/index\n"
	/* What was shipped, but is in no commit of the host's, may be in the guest's repository
	 * alone: its gc is not to drop that while an export could begin with it. */
	"GIT_DIR=$b git diff-tree -r -t --no-renames --no-abbrev --diff-filter=d "
	"${8:-$(git hash-object -t tree /dev/null)} $t >$b/info/lines\n"
	"if [ -s $b/info/lines ]; then\n"
	"  {\n"
	"    echo $t\n"
	"    while read -r x m x n x; do [ $m = 160000 ] || echo $n; done <$b/info/lines\n"
	"  } | git cat-file --batch-check >$b/info/said\n"
	"  while read -r n k x; do\n"
	"    case $k in\n"
	"    blob) printf '100644 blob %s\\t%s\\n' $n $n ;;\n"
	"    tree) printf '040000 tree %s\\t%s\\n' $n $n ;;\n"
	"    esac\n"
	"  done <$b/info/said >$b/info/lines\n"
	"  [ ! -s $b/info/lines ] || git update-ref refs/banger/base "
	"$(sort -u $b/info/lines | git mktree)\n"
	"fi\n"
	"if [ $2 = old ]; then mv $b/manifest.new $b/manifest\n"
	"else note \"$7\" >$b/manifest; fi\n"
	": >$b/info/lines\n"
	/* What was shipped is what an export begins with: its content stays, lists and old content
	 * go with the packs once there are many. */
	"set -- $b/objects/pack/*.pack\n"
	"[ $# -lt 16 ] || GIT_DIR=$b git repack -a -d -l -q --window=0 || :\n";

const char script_pending[] = "exec cat \"$1/.git/banger/pending\"\n";

const char script_note[] = "cd \"$1\" && GIT_DIR=.git/banger exec git cat-file blob \"$2\"\n";

const char script_compare[] =
	ENTER "export GIT_DIR=$b\n"
	      "cp $b/index $b/try\n"
	      "export GIT_INDEX_FILE=$b/try\n" GIT "update-index -z --index-info\n" GIT
	      "update-index -q --refresh >/dev/null 2>&1 || :\n"
	      "git diff-files -z --name-status --no-renames\n";

const char script_take[] = ENTER "export GIT_DIR=$b\n"
				 "mv $b/try $b/index\n" GIT "checkout-index -f -u -z --stdin\n";

const char script_remove[] = ENTER "xargs -0 rm -f --\n";

const char script_publish[] =
	"set -e\n"
	"trap 'r=$?; trap - EXIT; trap \"\" HUP INT TERM; [ $r = 0 ] || rm -rf \"$d\"; exit $r' "
	"EXIT\n"
	"d=$1\n"
	"[ ! -d \"$2\" ] || [ -L \"$2\" ] || rmdir \"$2\" 2>/dev/null || :\n"
	"if [ -e \"$2\" ] || [ -L \"$2\" ]; then echo \"'$2' is there by now\" >&2; exit 1; fi\n"
	"mv \"$d\" \"$2\"\n"
	/* Where somebody has made it just now, it is inside that. */
	"d=$2/${d##*/}\n"
	"if [ -d \"$d\" ]; then echo \"'$2' is there by now\" >&2; exit 1; fi\n";

const char script_discard[] = "case $1 in */.banger-new.*) rm -rf \"$1\";; esac\n";
