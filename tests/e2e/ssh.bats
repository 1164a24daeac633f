#!/usr/bin/env bats
# ssh into VMs that have no network: with the user's own ssh, scp and git, through banger's verb and from any terminal, with
# host keys that are pinned before the first connection.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for expect or a guest

load helper
load terminal

# shellcheck disable=SC2034 # for write_config
IMAGE=debian-bookworm

# ssh asks the user database for the home, so that is where the user's files have to be: an empty folder stands in front.
setup_file() {
	export TERM=xterm
	user_home=$(getent passwd "$(id -u)" | cut -d : -f 6)
	export user_home
	case $BANGER_BUILD in
	"$user_home"/*) user_home=$user_home/.ssh && mkdir -p "$user_home" ;;
	esac
	mount -t tmpfs tmpfs "$user_home"
	user_home=$(getent passwd "$(id -u)" | cut -d : -f 6)
	share_home
	banger --quiet vm run --name box -d --memory 1G --disk-size 3G --system-overlay-size 6G
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	local status=0
	delete_vms_but box || status=1
	rm -rf "$user_home/.ssh"/*
	compare_census || status=1
	return "$status"
}

known_hosts() {
	cut -d ' ' -f 1 "$BANGER_STATE_DIR/ssh/known_hosts" | paste -sd ' '
}

# Waits for the end of systemd's boot, in which the guest's own sshd comes.
guest_is_up() {
	in_vm box systemctl is-active ssh.service >/dev/null
}

@test "right after the start: an sshd for this connection, streams, exit status, nothing said" {
	run_for 7 banger vm ssh box -- 'hostname; id -un; cat; echo error >&2; exit 7' <<<input
	equal "$output" $'box\nroot\ninput'
	equal "$stderr" error
	run_for 255 banger vm ssh box -- -o Port=x true
	contains "$stderr" "Bad port 'x'"
	run_for 0 banger vm ssh box -- -l root -T 'echo "$SSH_CONNECTION"'
	contains "$output" ' 65535' # no address and no port: it is no network's connection
}

@test "the guest's own sshd, once it listens" {
	wait_until 100 guest_is_up
	run_for 0 banger vm ssh box -- 'echo "$SSH_CONNECTION"; ps -o ppid= -p $PPID | tr -d " "; cat /run/sshd.pid'
	matches "${lines[0]}" '^(127\.0\.0\.1|::1) '
	equal "${lines[1]}" "${lines[2]}"
}

@test "ssh NAME.vm, scp, git and editors from any terminal, once it is installed" {
	cd "$BATS_TEST_TMPDIR"
	mkdir -m 700 "$user_home/.ssh" 2>/dev/null || true
	printf 'Host *\n\tSetEnv LC_BANGER=mine\n\tForwardAgent yes' >"$user_home/.ssh/config"
	run_for 0 banger ssh-config --install
	equal "$stderr" "'$user_home/.ssh/config' includes banger's configuration now: 'ssh NAME.vm'"
	# As in another terminal, which knows nothing of this test's folders.
	elsewhere() { env -u BANGER_STATE_DIR -u BANGER_CONFIG_DIR -u BANGER_CACHE_DIR -u BANGER_RUNTIME_DIR "$@"; }
	run_for 3 elsewhere ssh box.vm 'hostname; echo "$LC_BANGER $SSH_AUTH_SOCK"; exit 3'
	equal "$output" $'box\nmine '
	equal "$stderr" ''

	head -c 3000000 /dev/urandom >bulk
	elsewhere scp -q bulk box.vm:/root/bulk
	elsewhere scp -q box.vm:/root/bulk back
	cmp bulk back
	in_vm box rm /root/bulk

	git init -q --bare -b main origin.git
	git clone -q origin.git work 2>/dev/null
	git -C work -c user.name=me -c user.email=me@x commit -q --allow-empty -m one
	in_vm box git init -q --bare -b main /root/repo
	elsewhere git -C work push -q box.vm:/root/repo HEAD:main
	elsewhere git clone -q box.vm:/root/repo copy
	equal "$(git -C copy log --format=%s)" one
	in_vm box rm -r /root/repo

	# What editors do: no terminal, a shell that is fed, a connection that others share, a proxy.
	run_for 0 elsewhere ssh -T -o ClearAllForwardings=yes box.vm bash -s <<<'echo "from $0"; cat /etc/hostname'
	equal "$output" $'from bash\nbox'
	elsewhere ssh -M -S "$BATS_TEST_TMPDIR/shared" -f -N -o ControlPersist=yes box.vm 3>&-
	run_for 0 elsewhere ssh -S "$BATS_TEST_TMPDIR/shared" -o ProxyCommand=false box.vm hostname
	equal "$output" box
	elsewhere ssh -q -S "$BATS_TEST_TMPDIR/shared" -O exit box.vm
}

@test "a running session and its VM live on when bangerd is killed; the next connection starts it" {
	banger --quiet ssh-config --install
	start session ssh box.vm 'echo ready; sleep 3; echo end'
	wait_until 30 file_has "$BATS_TEST_TMPDIR/session.out" ready
	kill -KILL "$(daemon_pid)"
	run_for 0 ssh box.vm hostname
	equal "$output" box
	wait_for_status "$started" 0
	equal "$(<"$BATS_TEST_TMPDIR/session.out")" $'ready\nend'
	watch_census
}

@test "install is done once, keeps mode, owner and link; uninstall gives back every byte" {
	local file=$BATS_TEST_TMPDIR/real/config
	mkdir -p "$BATS_TEST_TMPDIR/real"
	printf '# mine\r\nHost *\n\tUser me' >"$file"
	cp "$file" "$BATS_TEST_TMPDIR/before"
	chmod 640 "$file"
	chown 1:1 "$file"
	mkdir -m 700 "$user_home/.ssh" 2>/dev/null || true
	ln -s "$file" "$user_home/.ssh/config"
	run_for 0 banger --json ssh-config --install
	equal "$(jq -c '[.installed, .changed]' <<<"$output")" '[true,true]'
	equal "$(sed -n 2p "$file")" "Include \"$BANGER_STATE_DIR/ssh/config\""
	equal "$(stat -c '%a %u:%g' "$file")" '640 1:1'
	[ -L "$user_home/.ssh/config" ]
	cp "$file" "$BATS_TEST_TMPDIR/installed"
	run_for 0 banger --json ssh-config --install
	equal "$(jq -c '[.installed, .changed]' <<<"$output")" '[true,false]'
	cmp "$file" "$BATS_TEST_TMPDIR/installed"
	run_for 0 banger ssh-config --uninstall
	cmp "$file" "$BATS_TEST_TMPDIR/before"
	equal "$(stat -c '%a %u:%g' "$file")" '640 1:1'
	run_for 0 banger --json ssh-config --uninstall
	equal "$(jq -c '[.installed, .changed]' <<<"$output")" '[false,false]'
	equal "$(ls -A "$BATS_TEST_TMPDIR/real")" config

	# A file that was not there is gone again.
	rm "$user_home/.ssh/config"
	banger --quiet ssh-config --install
	equal "$(stat -c '%a %U' "$user_home/.ssh/config" "$user_home/.ssh")" $'600 root\n700 root'
	banger --quiet ssh-config --uninstall
	[ ! -e "$user_home/.ssh/config" ]

	echo '# <<< banger <<<' >"$file"
	run_for 1 banger ssh-config --install --file "$file"
	contains "$stderr" "cannot edit '$file': one end of banger's block is missing"
	run_for 2 banger ssh-config --install --uninstall
	run_for 0 banger ssh-config
	equal "$output" "$(<"$BANGER_STATE_DIR/ssh/config")"
}

@test "known hosts follow VMs that are made, renamed, deleted and made anew" {
	local key
	equal "$(known_hosts)" box.vm
	banger --quiet vm create --no-start --name other >/dev/null
	equal "$(known_hosts)" 'box.vm other.vm'
	key=$(grep '^other' "$BANGER_STATE_DIR/ssh/known_hosts" | cut -d ' ' -f 3)
	banger --quiet vm set other --name new
	equal "$(grep '^new' "$BANGER_STATE_DIR/ssh/known_hosts" | cut -d ' ' -f 3)" "$key"
	equal "$(known_hosts)" 'box.vm new.vm'
	banger --quiet vm delete new
	equal "$(known_hosts)" box.vm
	banger --quiet vm create --no-start --name new >/dev/null
	[ "$(grep '^new' "$BANGER_STATE_DIR/ssh/known_hosts" | cut -d ' ' -f 3)" != "$key" ]
	# Lost or wrong, it is put right: at once by a connection, entirely by the next start.
	echo "box.vm ssh-ed25519 AAAAwrong" >"$BANGER_STATE_DIR/ssh/known_hosts"
	run_for 0 banger vm ssh box -- true
	rm "$BANGER_STATE_DIR/ssh/known_hosts" "$BANGER_STATE_DIR/ssh/config"
	banger --quiet daemon stop
	run_for 0 banger vm ssh box -- true
	equal "$(known_hosts)" 'box.vm new.vm'
	equal "$(stat -c %a "$BANGER_STATE_DIR/ssh/known_hosts")" 600
	watch_census
}

@test "a guest that shows another key is refused" {
	in_vm box sh -c 'cd /etc/ssh && mkdir kept && mv ssh_host_ed25519_key* kept && ssh-keygen -qt ed25519 -N "" -f ssh_host_ed25519_key && systemctl restart ssh'
	run_for 255 banger vm ssh box -- true
	contains "$stderr" 'Host key verification failed.'
	in_vm box sh -c 'cd /etc/ssh && mv kept/* . && rmdir kept && systemctl restart ssh'
	run_for 0 banger vm ssh box -- true
}

@test "VMs that cannot be reached say why and what to do" {
	banger --quiet ssh-config --install
	banger --quiet vm create --no-start --name idle >/dev/null
	run_for 1 banger vm ssh idle
	equal "$stderr" $'banger: cannot ssh into \'idle\': it was never started\nhint: \'banger vm start idle\' starts it'
	run_for 255 ssh idle.vm true
	contains "$stderr" $'banger: cannot ssh into \'idle\': it was never started\nhint: \'banger vm start idle\' starts it'
	banger --quiet vm pause box >/dev/null
	run_for 1 banger vm ssh box -- true
	equal "$stderr" $'banger: cannot ssh into \'box\': it is paused\nhint: \'banger vm resume box\' lets it go on'
	banger --quiet vm resume box >/dev/null
	run_for 1 banger vm ssh nobody
	contains "$stderr" "there is no VM 'nobody'"
	run_for 255 ssh nobody.vm true
	contains "$stderr" "banger: there is no VM 'nobody'"
	# A prefix will do for banger, and never for ssh, which knows hosts by their whole names.
	run_for 0 banger vm ssh bo -- hostname
	equal "$output" box
	run_for 255 ssh bo.vm true
	contains "$stderr" "banger: there is no VM 'bo'"

	banger --quiet vm run --name bare --image debian-bookworm-slim -d --memory 512M >/dev/null
	run_for 255 banger vm ssh bare
	contains "$stderr" $'banger: cannot ssh into \'bare\': the guest has no sshd\nhint: \'banger vm shell bare\' needs none'
	equal "$(banger --json doctor | jq -r '.checks[] | select(.name == "ssh") | .status')" pass
	PATH=$BATS_TEST_TMPDIR run_for 1 "$BANGER" vm ssh box
	contains "$stderr" "hint: install OpenSSH's client, or use 'banger vm shell box'"
}

@test "a session at a terminal: its size, Ctrl-C, suspending, the status, the reminder" {
	banger --quiet ssh-config --install
	play <<-'EXPECT'
		type "$banger vm ssh box"
		see {root@box:~# $}
		type {stty size; tty; echo $TERM}
		see {30 100\r\n/dev/pts/\d+\r\nxterm\r\n}
		resize 50 132
		type {until [ "$(stty size)" = "50 132" ]; do sleep 0.1; done; echo re''sized}
		see {resized}
		type {sh -c 'echo re''ady; exec sleep 1000'}
		see {ready\r\n}
		send \003
		see {\^C.*# $}
		type {echo "was $?"}
		see {was 130}
		send "\r~\032"
		see {Stopped.*host> $}
		type fg
		see {vm ssh box}
		type {exit 5}
		see {'box' still runs: 'banger vm ssh box' returns to it}
		see {host> $}
		type {echo "status $?"}
		see {status 5\r\n.*host> $}
		type "$banger --quiet vm ssh box -- -t tty"
		see {/dev/pts/\d+\r\n.*host> $}
		type {ssh box.vm}
		see {root@box:~# $}
		type {exit 6}
		see {host> $}
		type {echo "status $?"}
		see {status 6\r\n.*host> $}
	EXPECT
}

@test "the VM ends under a session" {
	banger --quiet vm run --name brief -d --memory 1G >/dev/null
	start session banger vm ssh brief -- 'echo ready; sleep 1000'
	wait_until 30 file_has "$BATS_TEST_TMPDIR/session.out" ready
	banger --quiet vm kill brief >/dev/null
	wait_for_status "$started" 255
}
