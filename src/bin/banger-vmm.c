#include "vmmshim/vmm.h"

int main(int argc, char **argv)
{
	return vmm_main(argc, argv);
}
