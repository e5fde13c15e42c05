/* Counts allocations and copies: preloaded into a process, it adds up the calls of the allocator and the bytes they ask
 * for, and those of memcpy and memmove. They stand in the file ALLOCATIONS.PID (ALLOCATIONS: a path in the environment),
 * five 64-bit numbers: allocations, bytes, frees, copies, bytes copied. They can be read at any time, also once the
 * process was killed:
 *
 *     od -A n -t u8 target/allocations.4711
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The allocator of glibc. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

struct counts {
    uint64_t allocations, bytes, frees, copies, copied;
};

/* Counted here until the file is open. */
static struct counts early, *counts = &early;

__attribute__((constructor)) static void begin(void) {
    char path[4096];
    const char *stem = getenv("ALLOCATIONS");
    if (!stem) return;
    snprintf(path, sizeof path, "%s.%d", stem, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *counts)) return;
    void *shared = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED) counts = shared;
    close(fd);
}

static void *counted(void *memory, size_t bytes) {
    __atomic_fetch_add(&counts->allocations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->bytes, bytes, __ATOMIC_RELAXED);
    return memory;
}

void *malloc(size_t size) { return counted(__libc_malloc(size), size); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size), count * size); }
void *realloc(void *memory, size_t size) { return counted(__libc_realloc(memory, size), size); }
void *memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size), size); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    *memory = memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory) {
    if (memory) __atomic_fetch_add(&counts->frees, 1, __ATOMIC_RELAXED);
    __libc_free(memory);
}

/* Copies within the C library itself do not come by here. */
static void count_copy(size_t bytes) {
    __atomic_fetch_add(&counts->copies, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->copied, bytes, __ATOMIC_RELAXED);
}

/* The compiler would make a call of memmove of these loops. */
__attribute__((optimize("no-tree-loop-distribute-patterns")))
void *memmove(void *to, const void *from, size_t size) {
    unsigned char *target = to;
    const unsigned char *source = from;
    count_copy(size);
    if (target < source) {
        for (size_t at = 0; at < size; at++) target[at] = source[at];
    } else {
        for (size_t at = size; at > 0; at--) target[at - 1] = source[at - 1];
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t size) { return memmove(to, from, size); }
