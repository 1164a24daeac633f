#!/usr/bin/env bats
# [[file_sync]] and git's identity: what of the host's home is in a guest's before anybody can run a command there.
# shellcheck disable=SC2154,SC2016,SC2088 # bats sets output, stderr; expressions for other shells; paths as the file has them

load helper

CANARY=canary-3f1c77b0a9d2

# A home of the user's for the daemon to read.
setup() {
	begin_home "$BATS_TEST_TMPDIR"
	export HOME=$BATS_TEST_TMPDIR/home
	mkdir -p "$HOME"
	unset XDG_CONFIG_HOME GIT_CONFIG_GLOBAL
}

# A file_sync entry: host, guest, and a mode if there is one.
entry() {
	printf '[[file_sync]]\nhost = "%s"\nguest = "%s"\n%s' "$1" "$2" "${3:+mode = \"$3\"
}" >>"$BANGER_CONFIG_DIR/config.toml"
}

@test "files: copied at every start with their modes; what cannot be is a warning with its number" {
	mkdir -p "$HOME/.aws" "$HOME/tool/sub" "$HOME/locked"
	echo "$CANARY" >"$HOME/.aws/credentials"
	chmod 644 "$HOME/.aws/credentials"
	: >"$HOME/empty"
	printf '#!/bin/sh\necho tool\n' >"$HOME/tool/run"
	chmod 4755 "$HOME/tool/run"
	echo data >"$HOME/tool/sub/data"
	chmod 640 "$HOME/tool/sub/data"
	ln -s sub/data "$HOME/tool/inner"
	ln -s /etc/hostname "$HOME/tool/outer"
	ln -s ../.aws/credentials "$HOME/tool/up"
	mkfifo "$HOME/tool/fifo" "$HOME/fifo"
	ln -s /etc/hostname "$HOME/absolute"
	entry '~/.aws/credentials' '~/.aws/credentials'
	entry '~/none' '~/none'
	entry "$HOME/tool" /root/.local/share/tool
	entry /etc/hostname '~/hostname'
	entry '~/absolute' '~/hostname'
	entry '~/fifo' '~/fifo'
	entry '~/empty' '~/empty' 0444
	run_for 0 banger vm run -d --name box
	contains "$stderr" "warning: file_sync entry 2, '~/none': not copied: there is no such file or folder"
	contains "$stderr" "warning: file_sync entry 3, '$HOME/tool': left out, as links that lead out of it: '"
	contains "$stderr" "warning: file_sync entry 3, '$HOME/tool': left out 1 that is neither file, folder nor link"
	contains "$stderr" "warning: file_sync entry 4, '/etc/hostname': not copied: it is not in your home folder '$HOME'"
	contains "$stderr" "warning: file_sync entry 5, '~/absolute': not copied: a link leads out of your home folder"
	contains "$stderr" "warning: file_sync entry 6, '~/fifo': not copied: it is neither a file nor a folder"
	lacks "$stderr" 'entry 1'
	equal "$(in_vm box sh -c 'cd; cat .aws/credentials; stat -c "%a %u:%g" .aws .aws/credentials empty .local/share/tool/run .local/share/tool/sub/data
		find .aws .local -maxdepth 1 ! -newermt 2020-01-01; readlink .local/share/tool/inner; ls -A .local/share/tool; ls -dA .aws .local empty none hostname fifo 2>/dev/null; true')" "$CANARY
700 0:0
600 0:0
444 0:0
755 0:0
640 0:0
sub/data
inner
run
sub
.aws
.local
empty"
	# The log has the warnings, and nothing outside the guest's disk has the secret.
	jq -es 'any(.operation == "file_sync" and .level == "warn" and (.message | startswith("file_sync entry 2")))' "$BANGER_STATE_DIR/bangerd.log" >/dev/null
	run grep -rlF "$CANARY" "$BANGER_STATE_DIR" "$BANGER_RUNTIME_DIR" --exclude=work.qcow2 --exclude=work.raw
	equal "$output" ''

	# Again at each start: what has changed is new, what the guest has made beside it stays.
	in_vm box sh -c 'cd; echo theirs >.local/share/tool/theirs; echo x >.aws/credentials; rm empty; mkdir empty; chmod 711 .aws'
	echo changed >"$HOME/tool/sub/data"
	rm "$HOME/tool/run"
	run_for 0 banger vm restart box
	contains "$stderr" "warning: file_sync entry 7, '~/empty': not copied: put files in '/root': the agent gave up: 'empty' is a folder there"
	equal "$(in_vm box sh -c 'cd; cat .aws/credentials .local/share/tool/sub/data .local/share/tool/theirs .local/share/tool/run; stat -c %a .aws; ls -dA .aws .local empty')" "$CANARY
changed
theirs
#!/bin/sh
echo tool
711
.aws
.local
empty"
	# A link in the guest that leads out of its home is not followed.
	in_vm box sh -c 'cd; rm -r .aws; ln -s /etc .aws'
	run_for 0 banger vm restart box
	contains "$stderr" "warning: file_sync entry 1, '~/.aws/credentials': not copied: put files in '/root': the agent gave up: open the folder '.aws'"
	equal "$(in_vm box sh -c "ls -d /etc/credentials /root/.banger* 2>/dev/null; true")" ""
	run_for 0 banger --json vm start "$(banger --quiet vm create --no-start --name second >/dev/null && echo second)"
	equal "$(jq -r '.. | .warnings? // empty | map(select(startswith("file_sync entry 2")))[]' <<<"$output" | wc -l)" 1
}

@test "files: git's identity, where the guest has none of its own" {
	git config --global user.name 'Ada "L" \ x'
	git config --global user.email ada@example.org
	git config --global core.pager "echo $CANARY"
	git config --global alias.x '!touch /tmp/never'
	banger --quiet vm run -d --name box --image debian-bookworm >/dev/null
	equal "$(in_vm box cat /root/.gitconfig)" '# The host'"'"'s identity, written by banger when there was no such file.
[user]
	name = "Ada \"L\" \\ x"
	email = "ada@example.org"'
	equal "$(in_vm box git config --global user.name)" 'Ada "L" \ x'
	in_vm box git config --global user.name Guest
	banger --quiet vm restart box
	equal "$(in_vm box git config --global user.name)" Guest
	# A guest's file that an entry brings is not touched either; and without an identity there is none.
	banger --quiet daemon stop
	cp "$BANGER_CONFIG_DIR/config.toml" "$BATS_TEST_TMPDIR/config"
	entry '~/mine' '~/.gitconfig'
	printf '[user]\n\tname = Mine\n' >"$HOME/mine"
	banger --quiet vm run -d --name synced --image debian-bookworm >/dev/null
	equal "$(in_vm synced git config --global user.name)" Mine
	run_for 1 in_vm synced git config --global user.email
	banger --quiet daemon stop
	cp "$BATS_TEST_TMPDIR/config" "$BANGER_CONFIG_DIR/config.toml"
	rm "$HOME/.gitconfig"
	banger --quiet vm restart synced box
	in_vm synced rm /root/.gitconfig
	banger --quiet vm restart synced
	run_for 2 in_vm synced ls /root/.gitconfig
	# A link to what is not there yet is the guest's, too.
	git config --global user.name Ada
	in_vm synced ln -s /root/dotfiles/gitconfig /root/.gitconfig
	banger --quiet vm restart synced
	equal "$(in_vm synced readlink /root/.gitconfig)" /root/dotfiles/gitconfig
}

@test "files: a wrong entry is an error with its line, before anything starts" {
	entry '../x' '~/x'
	run_for 1 banger vm run -d
	matches "$stderr" "config.toml:[0-9]+:8: host is '../x': it must be absolute or begin with ~/"
	write_config
	entry '~/x' '/etc/x'
	run_for 1 banger vm run -d
	matches "$stderr" "config.toml:[0-9]+:9: guest is '/etc/x': it must begin with ~/ or /root/"
	write_config
	entry '~/x' '~/x' 4755
	run_for 1 banger vm run -d
	matches "$stderr" "config.toml:[0-9]+:8: mode is '4755'"
	write_config
}
