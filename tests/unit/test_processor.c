/* What of /proc/cpuinfo tells one kind of processor from another. */
#include "check.h"

#include "vmm/processor.h"

static const char epyc[] = "processor\t: 0\n"
			   "vendor_id\t: AuthenticAMD\n"
			   "cpu family\t: 25\n"
			   "model\t\t: 1\n"
			   "model name\t: AMD EPYC 7B13\n"
			   "stepping\t: 0\n"
			   "microcode\t: 0xffffffff\n"
			   "cpu MHz\t\t: 2449.998\n"
			   "flags\t\t: fpu vme avx2 vaes\n"
			   "bugs\t\t: spectre_v1\n"
			   "bogomips\t: 4899.99\n"
			   "address sizes\t: 48 bits physical, 48 bits virtual\n"
			   "power management:\n"
			   "\n"
			   "processor\t: 1\n"
			   "vendor_id\t: Another\n";
static const char epyc_is[] = "vendor_id\t: AuthenticAMD\n"
			      "cpu family\t: 25\n"
			      "model\t\t: 1\n"
			      "stepping\t: 0\n"
			      "flags\t\t: fpu vme avx2 vaes\n"
			      "address sizes\t: 48 bits physical, 48 bits virtual\n";

static const char graviton[] = "processor\t: 0\n"
			       "BogoMIPS\t: 243.75\n"
			       "Features\t: fp asimd evtstrm aes sve\n"
			       "CPU implementer\t: 0x41\n"
			       "CPU architecture: 8\n"
			       "CPU variant\t: 0x1\n"
			       "CPU part\t: 0xd40\n"
			       "CPU revision\t: 1\n"
			       "\n"
			       "processor\t: 1\n"
			       "Features\t: fp\n";
static const char graviton_is[] = "Features\t: fp asimd evtstrm aes sve\n"
				  "CPU implementer\t: 0x41\n"
				  "CPU architecture: 8\n"
				  "CPU variant\t: 0x1\n"
				  "CPU part\t: 0xd40\n"
				  "CPU revision\t: 1\n";

static void test_describe(void **state)
{
	static const struct {
		const char *cpuinfo;
		const char *wanted;
	} rows[] = {
		{ epyc, epyc_is },
		{ graviton, graviton_is },
		{ "", "" },
		{ "\n" /* no processor */, "" },
		{ "model", "" },
		{ "model\n: 1\nmodels\t: 1\nmodel 1\n", "" },
		{ "model: 1\nmodel\t: 2", "model: 1\n" },
		{ "flags\t\t: a\nflags\t\t: b\n", "flags\t\t: a\nflags\t\t: b\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF got = BUF_INIT;

		processor_describe(span_str(rows[i].cpuinfo), &got);
		CHECK_STR(got.ptr, rows[i].wanted);
	}
}

/* This host's: the same each time, and not nothing. */
static void test_read(void **state)
{
	AUTO_BUF first = BUF_INIT, second = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(processor_read(&first, &err), 0);
	CHECK_INT(processor_read(&second, &err), 0);
	CHECK_STR(second.ptr, first.ptr);
#if defined(__x86_64__)
	CHECK_HAS(first.ptr, "vendor_id");
	CHECK_HAS(first.ptr, "\nflags");
#endif
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests_name("processor", tests, NULL, NULL);
}
