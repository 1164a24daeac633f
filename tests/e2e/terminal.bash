# A user at a terminal, played by expect.

# Plays what standard input says at a terminal of 30 lines and 100 columns in which a host's shell runs: `type TEXT`
# sends a line, `see REGEX` waits for output. In the script $banger is the program and $dir the test's folder.
play() {
	cat - >"$BATS_TEST_TMPDIR/script.exp"
	cat >"$BATS_TEST_TMPDIR/play.exp" <<-'EXPECT'
		set timeout 60
		set stty_init "rows 30 columns 100"
		set banger $env(BANGER)
		set dir $env(BATS_TEST_TMPDIR)
		proc type {text} { send -- "$text\r" }
		proc see {regex} {
			expect {
				-re $regex {}
				timeout { puts "\n# did not come: $regex"; exit 97 }
				eof { puts "\n# ended before: $regex"; exit 98 }
			}
		}
		# Another size for the terminal, as a user who drags the window's corner.
		proc resize {rows columns} {
			global spawn_out
			exec stty rows $rows columns $columns <$spawn_out(slave,name)
		}
		spawn -noecho bash --norc --noprofile
		type "PS1='ho''st> '"
		see {host> $}
		type "stty -g >$dir/before"
		see {host> $}
		source $dir/script.exp
		type "stty -g >$dir/after"
		see {host> $}
		type exit
		expect eof
	EXPECT
	expect -f "$BATS_TEST_TMPDIR/play.exp" 3>&- || return
	cmp "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}
