/*
 * /init of the boot test in kernel.bats: loads the modules of /banger/modules.list in their order,
 * shows what it finds on the console, and powers the machine off. Static, without our libraries, as
 * small as the real one's start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load_module(const char *name)
{
	char path[512];
	int fd;
	long r;

	(void)snprintf(path, sizeof(path), "/banger/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = syscall(SYS_finit_module, fd, "", 0);
	if (r < 0)
		r = -errno;
	(void)close(fd);
	return (int)r;
}

static void load_modules(void)
{
	FILE *list = fopen("/banger/modules.list", "re");
	char line[256];
	int loaded = 0;

	while (list && fgets(line, sizeof(line), list)) {
		int r;

		line[strcspn(line, "\n")] = '\0';
		r = load_module(line);
		if (r < 0)
			(void)printf("MARK failed %s: %s\n", line, strerror(-r));
		else
			loaded++;
	}
	if (list)
		(void)fclose(list);
	(void)printf("MARK loaded %d\n", loaded);
}

static void show_identity(void)
{
	char text[256];
	struct stat info;
	ssize_t n;
	const int fd = open("/banger/identity.json", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &info) < 0) {
		(void)printf("MARK no identity: %s\n", strerror(errno));
		return;
	}
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	(void)printf("MARK identity %03o %s\n", (unsigned)(info.st_mode & 07777), text);
	(void)close(fd);
}

int main(void)
{
	(void)mkdir("/proc", 0755);
	(void)mkdir("/sys", 0755);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)mount("sys", "/sys", "sysfs", 0, NULL);
	(void)printf("MARK init\n");
	load_modules();
	show_identity();
	(void)printf("MARK vda %s\n", access("/sys/block/vda", F_OK) == 0 ? "there" : "missing");
	(void)fflush(stdout);
	(void)reboot(RB_AUTOBOOT); /* -no-reboot makes it the end of QEMU */
	return 1;
}
