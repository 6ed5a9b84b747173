/* Has calls of a program to files of one folder fail, as a device does that is broken or full; and has its clock be wrong.
 *
 * It is loaded before the C library, whose functions it stands before. FAULTS names a file of seven numbers of 64 bits,
 * which a test changes while the program runs; FAULTS_FOLDER the folder. See faults.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, GROW = 4 };

static struct {
    _Atomic int64_t calls;  /* which kinds of them: 0 for none */
    _Atomic int64_t pass;   /* how many of them still succeed */
    _Atomic int64_t fail;   /* how many fail after these */
    _Atomic int64_t error;  /* with which number */
    _Atomic int64_t half;   /* is the first of them a write of a half? */
    _Atomic int64_t failed; /* how many have failed */
    _Atomic int64_t ahead;  /* nanoseconds that the clock is ahead */
} *control;

static const char *folder;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS");
    folder = getenv("FAULTS_FOLDER");
    if (!path || !folder) return;
    int file = open(path, O_RDWR);
    if (file < 0) abort();
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) abort();
    control = shared;
}

static int is_inside(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(folder);
    return length > (ssize_t)prefix && memcmp(path, folder, prefix) == 0 && path[prefix] == '/';
}

static int fails(int file, int call) {
    if (!control || !(control->calls & call) || !is_inside(file)) return 0;
    if (atomic_fetch_sub(&control->pass, 1) > 0) return 0;
    if (atomic_fetch_sub(&control->fail, 1) <= 0) return 0;
    atomic_fetch_add(&control->failed, 1);
    return 1;
}

/* How much of a write is done before it fails. */
static size_t part(size_t length) {
    return length > 1 && atomic_exchange(&control->half, 0) ? length / 2 : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE return errno = (int)control->error, -1

#define WRITES(name, arguments, shorter)                      \
    {                                                         \
        if (fails(file, WRITE)) {                             \
            size_t done = part(length);                       \
            if (done > 0) return REAL(name) shorter;          \
            REFUSE;                                           \
        }                                                     \
        return REAL(name) arguments;                          \
    }

ssize_t write(int file, const void *bytes, size_t length)
WRITES(write, (file, bytes, length), (file, bytes, done))
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
WRITES(pwrite, (file, bytes, length, at), (file, bytes, done, at))
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at)
WRITES(pwrite64, (file, bytes, length, at), (file, bytes, done, at))

#define FAILS(call, name, arguments)            \
    {                                           \
        if (fails(file, call)) REFUSE;          \
        return REAL(name) arguments;            \
    }

ssize_t writev(int file, const struct iovec *parts, int count)
FAILS(WRITE, writev, (file, parts, count))
int fsync(int file) FAILS(SYNC, fsync, (file))
int fdatasync(int file) FAILS(SYNC, fdatasync, (file))
int ftruncate(int file, off_t length) FAILS(GROW, ftruncate, (file, length))
int ftruncate64(int file, off64_t length) FAILS(GROW, ftruncate64, (file, length))

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int result = real(clock, now);
    if (result || !control || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    int64_t sum = now->tv_nsec + control->ahead % 1000000000;
    now->tv_sec += control->ahead / 1000000000 + (sum < 0 ? -1 : sum / 1000000000);
    now->tv_nsec = sum < 0 ? sum + 1000000000 : sum % 1000000000;
    return 0;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &found);
    if (!result) now->tv_sec = found.tv_sec, now->tv_usec = found.tv_nsec / 1000;
    return result;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
