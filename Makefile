# The front door. Meson does the building; everything that is made lands in build/.
#
#   make            build, programs in build/bin
#   make run        install packages, build, boot a VM and run a command in it
#   make test       install packages, then every test; the last line counts them
#   make bench      print the figures
#   make install    DESTDIR and PREFIX as usual
#   make format     clang-format the tree        make clean    remove build/

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build/default

.PHONY: all packages run test bench install format clean

all: packages
	@[ -f $(BUILD)/build.ninja ] || CC=gcc CXX=g++ meson setup $(BUILD) --buildtype=debugoptimized >/dev/null
	@ninja -C $(BUILD) --quiet
	@mkdir -p build/bin
	@for program in banger bangerd banger-vmm banger-vsock-agent; do \
		ln -sfn ../default/src/bin/$$program build/bin/$$program; done

packages:
	@scripts/install-packages

run: all
	@scripts/demo

test: packages
	@scripts/run-tests

bench: all
	@bench/run

install:
	@[ -f build/release/build.ninja ] || CC=gcc CXX=g++ meson setup build/release \
		--buildtype=release -Db_lto=true -Dtests=false --prefix=$(PREFIX) >/dev/null
	@meson configure build/release --prefix=$(PREFIX)
	@DESTDIR="$(DESTDIR)" meson install -C build/release --quiet

format:
	@git ls-files '*.c' '*.h' '*.cc' | xargs clang-format -i

clean:
	rm -rf build
