# Images made here, and a real registry on loopback to pull them from.
# shellcheck disable=SC2034,SC2016 # REGISTRY and LAYOUTS are for the tests; an expression for a guest

# In LAYOUTS, OCI layouts: tiny:1 and tiny:2 (busybox; /version tells which; an image config with everything in it),
# bare:1 (one static program and nothing else), distroless:1 (a static program, and the files that say who runs it).
make_layouts() {
	LAYOUTS=$1
	mkdir -p "$LAYOUTS"
	make_tiny
	make_bare
	make_distroless
}

# umoci wants to be root, which the tests are in their namespaces.
make_tiny() {
	local root version
	umoci init --layout "$LAYOUTS/tiny"
	umoci new --image "$LAYOUTS/tiny:1"
	umoci unpack --image "$LAYOUTS/tiny:1" "$LAYOUTS/bundle"
	root=$LAYOUTS/bundle/rootfs
	mkdir -p "$root"/{bin,etc,root,srv/data,tmp,dev,proc,sys}
	cp /bin/busybox "$root/bin/busybox"
	for name in sh ls cat id env pwd echo grep uname; do ln -s busybox "$root/bin/$name"; done
	printf 'root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/srv:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\napp:x:2345:\n' >"$root/etc/group"
	printf 'NAME=Tiny\nVERSION_ID=3.20\n' >"$root/etc/os-release"
	echo gone >"$root/srv/data/old"
	umoci repack --refresh-bundle --image "$LAYOUTS/tiny:1" "$LAYOUTS/bundle"
	for version in 1 2; do
		echo "$version" >"$root/version"
		rm -f "$root/srv/data/old" # a whiteout in the second layer
		umoci repack --refresh-bundle --image "$LAYOUTS/tiny:$version" "$LAYOUTS/bundle"
		umoci config --image "$LAYOUTS/tiny:$version" --config.entrypoint /bin/sh --config.entrypoint -c \
			--config.entrypoint 'id -u; id -g; pwd; echo "$GREETING"; echo "$@"' --config.entrypoint program \
			--config.cmd from --config.cmd 'the image' --config.env 'GREETING=hello  world' \
			--config.user app --config.workingdir /srv/data
		[ "$version" -eq 2 ] || umoci tag --image "$LAYOUTS/tiny:1" 2
	done
	rm -r "$LAYOUTS/bundle"
}

make_bare() {
	local root
	cat >"$LAYOUTS/bare.c" <<-'C'
		#include <stdio.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			printf("bare %d %s\n", argc, argc > 1 ? argv[1] : "");
			return 7;
		}
	C
	umoci init --layout "$LAYOUTS/bare"
	umoci new --image "$LAYOUTS/bare:1"
	umoci unpack --image "$LAYOUTS/bare:1" "$LAYOUTS/bundle"
	root=$LAYOUTS/bundle/rootfs
	gcc -static -Os -o "$root/hello" "$LAYOUTS/bare.c"
	umoci repack --image "$LAYOUTS/bare:1" "$LAYOUTS/bundle"
	umoci config --image "$LAYOUTS/bare:1" --config.entrypoint /hello
	rm -r "$LAYOUTS/bundle"
}

make_distroless() {
	local root name=$LAYOUTS/distroless:1
	cat >"$LAYOUTS/report.c" <<-'C'
		#include <stdio.h>
		#include <unistd.h>
		extern char **environ;
		int main(int argc, char **argv)
		{
			char folder[4096];
			gid_t groups[64];
			int i, count = getgroups(64, groups);

			printf("ids %u %u", (unsigned)getuid(), (unsigned)getgid());
			for (i = 0; i < count; i++)
				printf(" %u", (unsigned)groups[i]);
			printf("\nfolder %s\narguments", getcwd(folder, sizeof(folder)));
			for (i = 1; i < argc; i++)
				printf(" '%s'", argv[i]);
			printf("\n");
			for (i = 0; environ[i]; i++)
				printf("env %s\n", environ[i]);
			return 0;
		}
	C
	umoci init --layout "$LAYOUTS/distroless"
	umoci new --image "$name"
	umoci unpack --image "$name" "$LAYOUTS/bundle"
	root=$LAYOUTS/bundle/rootfs
	mkdir -p "$root/app" "$root/etc" "$root/home/nonroot" "$root/var/lib/data"
	gcc -static -Os -o "$root/app/report" "$LAYOUTS/report.c"
	printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnonroot:x:65532:\ndata:x:777:nonroot\n' >"$root/etc/group"
	chown 65532:65532 "$root/home/nonroot"
	umoci repack --image "$name" "$LAYOUTS/bundle"
	umoci config --image "$name" --config.entrypoint report --config.cmd --verbose --config.cmd 'two words' \
		--config.env PATH=/app --config.env 'SSL_CERT_FILE=/etc/ssl/certs.pem' --config.user nonroot --config.workingdir /var/lib/data
	umoci config --image "$name" --tag nobody --config.user stranger
	rm -r "$LAYOUTS/bundle"
}

# Starts a registry that keeps its blobs in the folder given, and waits for it: REGISTRY is its address. Its requests are in
# the folder's log. start_registry FOLDER [HOST [TLS [AUTH]]]: the other two in YAML, as members of http and of all.
start_registry() {
	local folder=$1 host=${2:-127.0.0.1} port
	mkdir -p "$folder/blobs"
	port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	REGISTRY=$host:$port
	cat >"$folder/config.yml" <<-YAML
		version: 0.1
		log: { accesslog: { disabled: false }, level: warn }
		storage: { filesystem: { rootdirectory: "$folder/blobs" }, delete: { enabled: true } }
		http: { addr: "$REGISTRY"${3:+, $3} }
		${4:-}
	YAML
	docker-registry serve "$folder/config.yml" >"$folder/log" 2>&1 3>&- &
	registry_pid=$!
	wait_until 20 curl -sk -o "$folder/ping" "http${3:+s}://$REGISTRY/v2/"
}

# push LAYOUT:TAG REPOSITORY:TAG [OPTION...]
push() {
	skopeo --insecure-policy copy -q --dest-tls-verify=false "${@:3}" "oci:$LAYOUTS/$1" "docker://$REGISTRY/$2"
}

# Ends it, and waits until it is gone.
stop_registry() {
	kill "$registry_pid"
	wait "$registry_pid" || return 0
}
