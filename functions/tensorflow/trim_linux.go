package tensorflow

/*
#define _GNU_SOURCE
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

// weir_forget_segments has the kernel forget the pages of a library's segments that cannot be written: they are the
// file's own, and come back from the page cache where they are still needed.
static int weir_forget_segments(struct dl_phdr_info *library, size_t size, void *unused) {
	if (library->dlpi_name == NULL || library->dlpi_name[0] != '/') return 0;
	uintptr_t page = sysconf(_SC_PAGESIZE);
	for (int i = 0; i < library->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
		uintptr_t begin = (library->dlpi_addr + segment->p_vaddr) & ~(page - 1);
		uintptr_t end = library->dlpi_addr + segment->p_vaddr + segment->p_memsz;
		madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

static void weir_trim(void) {
	malloc_trim(0);
	dl_iterate_phdr(weir_forget_segments, NULL);
}
*/
import "C"

import "runtime/debug"

// Trim gives memory back to the system that loading has used and nobody needs any more, in every replica: what Go's and the
// C library's allocators keep, and the parts of TensorFlow's libraries that only loading reads (symbols, relocations
// and initialisers: four fifths of what the kernel has mapped of them).
func Trim() {
	debug.FreeOSMemory()
	C.weir_trim()
}
