#!/usr/bin/env bats
# Templates: VMs that begin from a booted machine at rest, who they are then, and what is left when something fails.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031,SC2034 # bats sets status, output, stderr, lines; expressions for other shells; each
# test is a subshell

load helper
load crash_helper

export BATS_TEST_TIMEOUT=$((400 * PATIENCE)) # one waits for what is built in the background

# All tests but those of crashes share a home and its template.
setup_file() {
	share_home
	with_templates
	banger --quiet template build >/dev/null
}

teardown_file() {
	delete_templates
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	delete_vms_but
	compare_census
}

delete_templates() {
	local template
	for template in $(banger --json template list | jq -r '.templates[].id'); do
		banger --quiet template delete "$template" >/dev/null
	done
}

with_templates() {
	sed -i '/^templates = /d' "$BANGER_CONFIG_DIR/config.toml"
}

templates() {
	banger --json template list | jq -c "[.templates[] | $1]"
}

has_templates() {
	[ "$(templates .id | jq length)" = "$1" ]
}

template_folder() {
	echo "$BANGER_STATE_DIR/templates/$(banger --json template list | jq -r '.templates[0].id')"
}

# What a run has said that it was made of.
began_from_template() {
	contains "$stderr" "template: $(basename "$(template_folder)")"
	lacks "$stderr" "boot: begun"
	lacks "$stderr" "cold:"
}

booted() {
	contains "$stderr" "boot: begun"
	lacks "$stderr" "template:"
}

@test "template list, build and delete as a user types them" {
	local id
	id=$(basename "$(template_folder)")
	run_for 0 banger template list
	matches "${lines[0]}" '^ID +IMAGE +KERNEL +VCPU +MEMORY +SIZE +BUILT +USED$'
	matches "${lines[1]}" "^${id:0:12}  $IMAGE  debian-cloud +1  512 MiB +[0-9.]+ MiB"
	equal "${#lines[@]}" 2
	# It has whatever was in memory: nobody else reads it, and it is said if that has changed.
	equal "$(stat -c %a "$(template_folder)" "$(template_folder)"/* | sort -u | xargs)" '600 700'
	chmod 755 "$(template_folder)"
	chmod 644 "$(template_folder)/memory"
	run_for 0 banger --json doctor --fix
	equal "$(jq -r '.fixed[].message' <<<"$output")" "the folder '$(template_folder)' had mode 0755 and has 0700 now
the file '$(template_folder)/memory' had mode 0644 and has 0600 now"
	run_for 0 banger template build
	contains "$stderr" "there is one already"
	contains "$output" "${id:0:12}"
	run_for 0 banger --json template build "$IMAGE" -m 512 --vcpu 1
	jq -e --arg id "$id" '.built == false and .template.id == $id and .template.build_ms > 0' <<<"$output"
	run_for 1 banger template build nothing-like-that
	contains "$stderr" "nothing-like-that"
	run_for 2 banger template build -m 1
	run_for 2 banger template build one two
	run_for 1 banger template delete fffff
	contains "$stderr" "there is no template 'fffff'"
	contains "$stderr" "banger template list"
	run_for 2 banger template delete
	run_for 0 banger completion words -- template delete ''
	equal "$output" "$id"
	# It is no VM, and what it was built with is gone.
	equal "$(banger vm list -q)" ''
	equal "$(banger --json doctor --plan | jq -c .actions)" '[]'
}

# Values of a VM that two machines must not share, one a line.
identity_of() {
	in_vm "$1" sh -c 'hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address
		cat /etc/ssh/ssh_host_ed25519_key.pub; cat /proc/sys/kernel/random/uuid
		head -c 16 /dev/urandom | od -An -tx1; grep -c . /proc/net/route'
	vm_get "$1" .ip
}

@test "VMs begin from a template, each as another machine, and its memory stays as it was" {
	local memory name n
	memory=$(sha256sum <"$(template_folder)/memory")
	for name in a b c; do
		run_for 0 banger vm create --name "$name"
		began_from_template
	done
	for name in a b c; do
		identity_of "$name" >"$BATS_TEST_TMPDIR/$name"
		equal "$(head -n 1 "$BATS_TEST_TMPDIR/$name")" "$name"
		equal "$(sed -n 2p "$BATS_TEST_TMPDIR/$name")" "$(vm_get "$name" .id)"
		equal "$(sed -n 5p "$BATS_TEST_TMPDIR/$name" | cut -d ' ' -f 1,2)" \
			"$(cut -d ' ' -f 1,2 <"$(folder_of "$name")/host_key.pub")"
		in_vm "$name" sh -c "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo $name >/root/mine; sync"
		equal "$(in_vm "$name" ip -4 -o address show eth0 2>/dev/null | grep -c "$(vm_get "$name" .ip)/")" 1
	done
	# Name, machine-id, boot_id, MAC, key, uuid, randomness, address: no value twice.
	for n in 1 2 3 4 5 6 7 9; do
		equal "$n: $(for name in a b c; do sed -n "${n}p" "$BATS_TEST_TMPDIR/$name"; done | sort | uniq -d)" "$n: "
	done
	equal "$(in_vm a cat /root/mine) $(in_vm b cat /root/mine) $(in_vm c cat /root/mine)" 'a b c'
	equal "$(sha256sum <"$(template_folder)/memory")" "$memory"
	banger --quiet vm pause b >/dev/null
	vm_is b paused
	banger --quiet vm resume b >/dev/null
	clock_is_right b
	# Stopped and started again it boots, as it is.
	banger --quiet vm stop a >/dev/null
	run_for 0 banger vm start a
	booted
	equal "$(in_vm a cat /root/mine /etc/machine-id | xargs)" "a $(vm_get a .id)"
}

@test "--cold boots, and so does what is asked of bangerd without a start" {
	run_for 0 banger vm create --cold --name cold
	booted
	lacks "$stderr" "cold:"
	run_for 0 banger vm create --no-start --name later
	lacks "$stderr" "template:"
	run_for 0 banger vm start later
	booted
}

@test "the clock is right at once, randomness differs, and files, ports, --rm and commands work" {
	local before after
	export HOME=$BATS_TEST_TMPDIR
	printf '[[file_sync]]\nhost = "%s"\nguest = "~/synced"\nmode = "600"\n' "$BATS_TEST_TMPDIR/synced" \
		>>"$BANGER_CONFIG_DIR/config.toml"
	echo secret >"$BATS_TEST_TMPDIR/synced"
	cp "$BANGER_CONFIG_DIR/config.toml" "$BATS_TEST_TMPDIR/with"
	banger --quiet daemon stop >/dev/null
	before=$EPOCHSECONDS
	run_for 0 banger vm run --rm -p 0:8080 -- sh -c 'date +%s; cat /root/synced; exit 0'
	after=$EPOCHSECONDS
	began_from_template
	[ "${lines[0]}" -ge $((before - 1)) ]
	[ "${lines[0]}" -le $((after + 1)) ]
	equal "${lines[1]}" secret
	contains "$stderr" "-> 8080"
	equal "$(banger vm list -q)" ''
	sed -i '/^\[\[file_sync/,$d' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet daemon stop >/dev/null
	run_for 7 banger vm run --rm -- sh -c 'exit 7'
	began_from_template
}

@test "larger disks grow, smaller ones have a template of their own" {
	run_for 0 banger vm create --name large --disk-size 3GiB --system-overlay-size 4GiB
	began_from_template
	[ "$(in_vm large df -m --output=size /root | tail -n 1)" -gt 2800 ]
	[ "$(in_vm large df -m --output=size / | tail -n 1)" -gt 3700 ]
	in_vm large sh -c 'grep -c noinit_itable /proc/mounts' | grep -qx 2
	banger --quiet vm delete large
	run_for 0 banger vm create --name small --system-overlay-size 1GiB
	booted
	contains "$stderr" "cold: no template yet"
	# Built in the background, at once and without being asked for; and no VM of anybody's.
	equal "$(banger --json vm list | jq -c '[.vms[].name]')" '["small"]'
	# With the processor time that others leave over: when they leave none it takes long.
	wait_until 300 has_templates 2
	equal "$(templates .system_bytes | jq -c sort)" '[1073741824,2147483648]'
	banger --quiet vm delete small
	run_for 0 banger vm create --name small --system-overlay-size 1GiB
	contains "$stderr" "template:"
	lacks "$stderr" "boot: begun"
	[ "$(in_vm small df -m --output=size / | tail -n 1)" -lt 1024 ]
	banger --quiet template delete "$(banger --json template list | jq -r '.templates[] | select(.system_bytes == 1073741824).id')"
}

is_building() {
	banger --json vm stats | jq -e '[.vms[].name] | any(startswith("template-"))' >/dev/null
}

@test "who wants a template or a VM has not to mind what is built in the background" {
	run_for 0 banger vm run --rm --vcpu 2 -- true
	booted
	wait_until 60 is_building
	run_for 1 banger vm show templ
	contains "$stderr" "templ"
	# It is ended for a user's build, and begun again.
	run_for 0 banger template build
	contains "$stderr" "waiting for another build"
	contains "$stderr" "there is one already"
	wait_until 60 is_building
	banger --quiet daemon stop >/dev/null
	wait_until 10 has_no_vms
	equal "$(templates .vcpu)" '[1]'
}

# The VM boots, and what could not be used is gone.
boots_without_it() {
	run_for 0 banger vm run --rm -- true
	contains "$stderr" "cold: its template cannot be used"
	contains "$stderr" "boot: begun"
	[ ! -e "$1" ]
	banger --quiet template build >/dev/null
}

@test "what is damaged is not begun from: it goes, and the VM boots" {
	local folder
	# A flipped bit of the state, no state, memory that is too short, a disk that is gone.
	folder=$(template_folder)
	printf '\xff' | dd of="$folder/state" bs=1 seek=3000 conv=notrunc status=none
	boots_without_it "$folder"
	log_has "cannot go on from its template"
	folder=$(template_folder)
	: >"$folder/state"
	boots_without_it "$folder"
	folder=$(template_folder)
	truncate -s -4096 "$folder/memory"
	boots_without_it "$folder"
	folder=$(template_folder)
	rm "$folder"/work.*
	boots_without_it "$folder"
	# What no check finds: the guest's memory is there, and empty.
	folder=$(template_folder)
	truncate -s 0 "$folder/memory"
	truncate -s 512M "$folder/memory"
	boots_without_it "$folder"
	log_has "the VM ended while it booted"
	run_for 0 banger vm run --rm -- true
	began_from_template
	folder=$(template_folder)
	# Without its files it is forgotten.
	rm "$folder/memory"
	equal "$(banger --json doctor --plan | jq -r '.actions[].reason')" "its files are gone"
	banger --quiet daemon stop >/dev/null
	equal "$(templates .id)" '[]'
	[ ! -e "$folder" ]
	banger --quiet template build >/dev/null
}

# kill_it SIGNAL PATTERN: whoever loads a template, as soon as there is somebody.
kill_it() {
	local deadline=$((SECONDS + 30))
	until pkill "-$1" -f -- "$2" || [ "$SECONDS" -ge "$deadline" ]; do :; done
}

@test "a VM that somebody kills while it begins says nothing against its template" {
	local folder killer row
	folder=$(template_folder)
	for row in 'KILL -incoming defer' 'TERM -incoming defer' 'KILL ^[^ ]*/banger-vmm --id'; do
		kill_it "${row%% *}" "${row#* }" 3>&- &
		killer=$!
		# Growing takes a while, so it cannot be late.
		run_for 0 banger vm create --name box --disk-size 3GiB
		wait_for_status "$killer" 0
		contains "$row: $stderr" "cold: its template cannot be used"
		contains "$row: $stderr" "boot: begun"
		banger --quiet vm delete box
		equal "$row: $(ls "$BANGER_STATE_DIR/templates")" "$row: $(basename "$folder")"
	done
	# The last that booted has asked for a template, which must not be built when the next test deletes this one.
	banger --quiet daemon stop >/dev/null
	run_for 0 banger vm run --rm -- true
	began_from_template
}

@test "a VM goes on when its template is deleted; what is over the limit goes" {
	run_for 0 banger vm create --name box
	began_from_template
	banger --quiet template delete "$(basename "$(template_folder)")"
	in_vm box sh -c 'find / -xdev -type f -size -100k -exec cat {} + >/dev/null; echo fine' | grep -qx fine
	equal "$(ls "$BANGER_STATE_DIR/templates")" ''
	sed -i '1i template_cache_size = "1MiB"' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet daemon stop >/dev/null
	# The one used last stays, whatever it takes, also when bangerd looks after them.
	banger --quiet template build >/dev/null
	equal "$(templates .vcpu)" '[1]'
	banger --quiet template build --vcpu 2 >/dev/null
	equal "$(templates .vcpu)" '[2]'
	banger --quiet daemon stop >/dev/null
	equal "$(templates .vcpu)" '[2]'
	equal "$(find "$BANGER_STATE_DIR/templates" -mindepth 1 -maxdepth 1 | wc -l)" 1
	sed -i '1d' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet daemon stop >/dev/null
	delete_templates
	banger --quiet template build >/dev/null
}

@test "another VMM, and no template fits" {
	local vmm=$PROGRAMS/banger-vmm
	banger --quiet daemon stop >/dev/null # what looks each minute for templates that are to go does so later
	touch -r "$vmm" "$BATS_TEST_TMPDIR/as-it-was"
	touch "$vmm"
	run_for 0 banger vm create --name box
	touch -r "$BATS_TEST_TMPDIR/as-it-was" "$vmm"
	booted
	contains "$stderr" "cold: no template yet"
	banger --quiet daemon stop >/dev/null # what is being built now is not wanted
	touch "$vmm"
	banger vm list -q
	banger doctor >/dev/null || true # looks at the host
	equal "$(banger --json doctor --plan | jq -r '[.actions[].reason] | unique[]')" "what it was made of has changed"
	touch -r "$BATS_TEST_TMPDIR/as-it-was" "$vmm"
	equal "$(banger --json doctor --plan | jq -r '.actions[].reason')" ""
	banger --quiet vm delete box
	run_for 0 banger vm run --rm -- true
	began_from_template
}

@test "killed at vm.start.introduced, and while a template is built or deleted: nothing is left, and it works again" {
	local point
	crash_at vm.start.introduced banger vm create --name box
	recover vm.start.introduced
	assert_no_vms
	banger --quiet template delete "$(basename "$(template_folder)")"
	for point in template.build.booted template.build.written template.build.stored template.build.renamed; do
		crash_at "$point" banger template build
		recover "$point"
		wait_until 10 has_no_vms
		equal "$point: $(ls -A "$BANGER_STATE_DIR/templates")" "$point: "
		equal "$(templates .id)" '[]'
		wait_until 10 no_vmm_runs
	done
	banger --quiet template build >/dev/null
	crash_at template.delete.row banger template delete "$(basename "$(template_folder)")"
	recover template.delete.row
	equal "$(ls -A "$BANGER_STATE_DIR/templates")" ''
	banger --quiet template build >/dev/null
	run_for 0 banger vm run --rm -- true
	began_from_template
}

@test "Ctrl-C while one is built leaves nothing" {
	banger --quiet template delete "$(basename "$(template_folder)")"
	start build env --default-signal=INT "$BANGER" template build
	wait_until 60 file_has "$BATS_TEST_TMPDIR/build.err" 'boot: begun'
	kill -INT "$started"
	wait_for_status "$started" 130
	wait_until 10 has_no_vms
	equal "$(ls -A "$BANGER_STATE_DIR/templates")" ''
	equal "$(templates .id)" '[]'
	banger --quiet template build >/dev/null
}
