#!/usr/bin/env bats
# Every command's --json output against docs/json-schema.json, which users program against: what is not documented
# there, or not there any more, fails here.
# shellcheck disable=SC2154 # bats sets status and the like

load helper
load crash_helper

KERNEL=debian-cloud

setup() {
	begin_home "$BATS_TEST_TMPDIR"
	SEEN=$BATS_FILE_TMPDIR/seen
}

# A command whose output is recorded as COMMAND's: one line on standard output, nothing but notes on standard error.
js() {
	local command=$1
	shift
	run_for "${STATUS:-0}" banger --json "$@"
	equal "$* ${#lines[@]}" "$* 1"
	printf '%s\t%s\n' "$command" "$output" >>"$SEEN"
}

# One that fails: its object is on standard error, standard output is empty.
fails() {
	run_for "${STATUS:-1}" banger --json "$@"
	equal "$* $output" "$* "
	printf 'failure\t%s\n' "${stderr##*$'\n'}" >>"$SEEN"
}

checked() {
	run "$BATS_TEST_DIRNAME/../json_schema.py" "$@" "$SEEN"
	[ "$status" -eq 0 ] || {
		echo "$output" >&2
		return 1
	}
}

@test "VMs" {
	js 'vm list' ps
	js 'vm create' vm create --no-start --name off
	js 'vm create' vm create --name box -p 0:80
	js 'vm run' vm run -d --name other
	js 'vm list' vm list
	js 'vm list' ps -q
	equal "$output" "$(banger --json ps | jq -c '{ids: [.vms[].id]}')"
	js 'vm show' vm show box
	js 'vm show' vm show off
	js 'vm health' vm health box
	STATUS=1 fails vm health off
	js 'vm ping' vm ping -c 2 box
	js 'vm ports' vm ports box
	js 'vm stats' vm stats
	js 'vm stats' vm stats box off
	echo text >"$BATS_TEST_TMPDIR/file"
	js 'vm cp' vm cp "$BATS_TEST_TMPDIR/file" box:/root/
	js 'vm cp' vm cp box:/etc/hostname "$BATS_TEST_TMPDIR/back"
	js 'vm fork' vm fork box --name copy --count 2
	banger --quiet vm delete copy-1 copy-2
	js 'vm pause' vm pause box
	js 'vm list' ps
	js 'vm resume' vm resume box
	js 'vm kill' vm kill other
	wait_until 20 vm_is other stopped
	js 'vm set' vm set other --name another --memory 300
	js 'vm restart' vm restart box
	STATUS=1 js 'vm stop' vm stop box off nobody box
	js 'vm start' vm start box
	STATUS=1 js 'vm start' vm start box nobody
	js 'vm stop' vm stop --timeout 0 box
	js 'vm delete' vm delete box
	js 'vm prune' vm prune --force
	checked
}

@test "workspaces" {
	local repo=$BATS_TEST_TMPDIR/repo
	export HOME=$BATS_TEST_TMPDIR
	git config --global user.name Ada
	git config --global user.email ada@example.org
	git init -q "$repo"
	echo text >"$repo/file"
	git -C "$repo" add file
	git -C "$repo" commit -q -m base
	banger --quiet vm run -d --name box --image debian-bookworm >/dev/null
	banger --quiet vm cp "$repo" box:/srv
	js 'vm run' vm run "$repo" --dry-run
	js 'vm workspace prepare' vm workspace prepare box "$repo" --dry-run
	js 'vm workspace prepare' vm workspace prepare box "$repo"
	js 'vm show' vm show box
	js 'vm list' vm list
	js 'vm workspace export' vm workspace export box -w /srv/repo --base-commit HEAD -o "$repo.patch"
	in_vm box sh -c 'echo more >>/srv/repo/file; ln -s /etc /srv/repo/out'
	js 'vm workspace export' vm workspace export box -w /srv/repo --base-commit HEAD -o "$repo.patch"
	js 'vm workspace export' vm workspace export box -w /srv/repo --base-commit HEAD --bundle -o "$repo.bundle"
	checked
}

@test "images and kernels" {
	local tree=$BATS_TEST_TMPDIR/tree
	own_artifacts
	js 'image list' image list
	js 'kernel list' kernel list --available
	js 'image catalog' image catalog
	mkdir -p "$BATS_TEST_TMPDIR/kernel" "$tree"/{bin,root,dev,proc,sys,tmp,etc}
	/usr/bin/python3 "$BATS_TEST_DIRNAME/../integration/small_kernel.py" >"$BATS_TEST_TMPDIR/kernel/vmlinux"
	js 'kernel import' kernel import mine --from "$BATS_TEST_TMPDIR/kernel"
	record_kernel_tar "$BATS_TEST_TMPDIR/kernel.tar"
	serve "$BATS_TEST_TMPDIR/kernel.tar"
	banger --quiet daemon stop
	js 'kernel pull' kernel pull $KERNEL
	js 'kernel list' kernel list
	js 'kernel show' kernel show mine
	js 'kernel show' kernel show $KERNEL
	cp /bin/busybox "$tree/bin/sh"
	truncate -s 64M "$BATS_TEST_TMPDIR/root.ext4"
	mke2fs -q -t ext4 -d "$tree" "$BATS_TEST_TMPDIR/root.ext4"
	js 'image register' image register own --rootfs "$BATS_TEST_TMPDIR/root.ext4" --kernel-ref mine
	js 'image list' image list
	js 'image show' image show own
	js 'image promote' image promote own
	make_layout
	js 'image pull' image pull "oci:$BATS_TEST_TMPDIR/layout:1" --name pulled
	js 'image show' image show pulled
	js 'image list' image list
	js 'image delete' image delete own
	js 'image delete' image delete pulled
	js 'kernel rm' kernel rm mine
	js 'image cache prune' image cache prune --dry-run
	js 'image cache prune' image cache prune
	checked
}

# One layer with one file.
make_layout() {
	local layout=$BATS_TEST_TMPDIR/layout
	umoci init --layout "$layout"
	umoci new --image "$layout:1"
	head -c 4096 /dev/zero >"$BATS_TEST_TMPDIR/zeros" # umoci forgets the padding of what is no whole block
	umoci insert --image "$layout:1" "$BATS_TEST_TMPDIR/zeros" /file
} >/dev/null 2>&1

@test "snapshots" {
	js 'vm create' vm create --name box
	js 'vm snapshot create' vm snapshot create box
	js 'vm snapshot create' vm snapshot create box mine
	fails vm snapshot create box mine
	js 'vm snapshot list' vm snapshot list
	js 'vm snapshot list' vm snapshot list box
	js 'vm snapshot show' vm snapshot show box mine
	js 'vm show' vm show box
	js 'vm snapshot restore' vm snapshot restore box snap0
	fails vm snapshot restore box nothing
	STATUS=1 js 'vm snapshot delete' vm snapshot delete box mine nothing
	checked
}

@test "templates" {
	js 'template list' template list
	js 'template build' template build
	js 'template build' template build
	js 'template list' template list
	js 'template delete' template delete "$(banger --json template list | jq -r '.templates[0].id')"
	fails template delete 0123
	checked
}

@test "the daemon and the rest" {
	js version version
	STATUS=1 fails daemon status
	banger ps >/dev/null
	js 'daemon status' daemon status
	js version version
	js 'daemon operations list' daemon operations list
	start create "$BANGER" --quiet vm create --name box
	wait_until 20 has_operation
	js 'daemon operations list' daemon operations list
	js 'daemon operations cancel' daemon operations cancel "$operation"
	wait_for_status "$started" 1
	STATUS=1 js 'daemon operations cancel' daemon operations cancel 999999
	js doctor doctor
	chmod 755 "$BANGER_CACHE_DIR"
	js doctor doctor --fix
	banger --quiet vm create --no-start --name box >/dev/null
	js doctor doctor --plan
	js doctor doctor --census
	js ssh-config ssh-config
	js ssh-config ssh-config --install --file "$BATS_TEST_TMPDIR/config"
	js ssh-config ssh-config --uninstall --file "$BATS_TEST_TMPDIR/config"
	STATUS=1 fails vm show nobody
	STATUS=1 fails vm create --no-start --name box
	STATUS=1 fails vm create --no-start --image nothing
	STATUS=2 fails vm create --vcpu 0
	STATUS=2 fails vm frobnicate
	STATUS=2 fails frobnicate
	STATUS=2 fails vm show
	STATUS=1 fails vm logs nobody
	STATUS=1 fails vm exec nobody -- true
	STATUS=1 fails vm exec box -- true
	js 'daemon stop' daemon stop
	js 'daemon stop' daemon stop
	checked
}

has_operation() {
	operation=$(banger --json daemon operations list | jq -e '.operations[0].id')
}

@test "every command is documented, and was tried" {
	banger --help >"$BATS_TEST_TMPDIR/help"
	checked --all <"$BATS_TEST_TMPDIR/help"
	# The page for people names the same commands.
	while read -r command; do
		grep -qF "\`$command\`" "$BATS_TEST_DIRNAME/../../docs/json.md" || {
			echo "docs/json.md has no '$command'" >&2
			return 1
		}
	done < <(jq -r '(.commands, .streams) | keys[]' "$BATS_TEST_DIRNAME/../../docs/json-schema.json")
}
