/* A disk that is slow, fails or does not answer: preloaded into a router, it stands between SQLite and the
 * kernel for the database's files. What it does is read from the file named by FAULTY_DISK at every call:
 * a number: each sync takes so many seconds; "fail": syncs fail with EIO; "full": writes fail with ENOSPC;
 * "hang": syncs wait until the file says something else. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is_database(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "switchhook.db") != NULL;
}

static void mode(char *text, size_t size) {
    text[0] = 0;
    const char *file = getenv("FAULTY_DISK");
    FILE *control = file ? fopen(file, "re") : NULL;
    if (!control) return;
    if (!fgets(text, (int)size, control)) text[0] = 0;
    fclose(control);
}

static void wait_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&time, &time) && errno == EINTR) {}
}

/* What happens to a sync: 0, or -1 with errno. */
static int fault(int fd) {
    char text[32];
    if (!is_database(fd)) return 0;
    for (mode(text, sizeof text); !strncmp(text, "hang", 4); mode(text, sizeof text)) wait_for(0.02);
    if (!strncmp(text, "fail", 4)) {
        errno = EIO;
        return -1;
    }
    double seconds = atof(text);
    if (seconds > 0) wait_for(seconds);
    return 0;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fault(fd) ? -1 : real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fault(fd) ? -1 : real(fd);
}

static int is_full(int fd) {
    char text[32];
    mode(text, sizeof text);
    if (strncmp(text, "full", 4) || !is_database(fd)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    return is_full(fd) ? -1 : real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return is_full(fd) ? -1 : real(fd, bytes, count, at);
}
