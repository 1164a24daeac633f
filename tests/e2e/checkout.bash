# What the files about workspaces use: a git that knows who works here, and, for those whose tests share a VM with a git of
# its own, that VM, called box, and a folder of each test.

# The user's home, with git's configuration: use_git_home FOLDER
use_git_home() {
	export HOME=$1 GIT_CONFIG_NOSYSTEM=1
	mkdir -p "$HOME"
	git config --global user.name Ada
	git config --global user.email ada@example.org
	git config --global init.defaultBranch main
	git config --global advice.detachedHead false
}

share_box() {
	share_home
	use_git_home "$BATS_FILE_TMPDIR/home"
	banger --quiet vm run --name box -d --image debian-bookworm >/dev/null
}

setup_file() {
	share_box
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
	cd "$BATS_TEST_TMPDIR" || return
}

teardown() {
	cd / || return
	compare_census
}
