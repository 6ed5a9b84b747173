/* Writes down what a program does to the files of one folder, every operation with its bytes, in one order.
 *
 * It is loaded before the C library, whose functions it stands before. RECORD names the trace, RECORD_CONTROL a file of two
 * numbers of 64 bits that a test shares with the program, RECORD_FOLDER the folder. An operation and its entry are made under
 * one lock, so the order of the entries is that of the operations; and the program is killed between two of them, if it
 * is told to, never within one. What is not known here, and would leave something in the folder, ends the program: nothing
 * is passed over. See trace.rs for what an entry is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, UNLINK, RENAME, FOLDER };

static struct {
    _Atomic uint64_t done;   /* operations in the trace */
    _Atomic uint64_t die_at; /* the program is killed when there are so many; 0 for never */
    _Atomic uint64_t hold;   /* no further operation is begun, since somebody is about to kill it */
    _Atomic uint64_t busy;   /* one is on its way */
} *control;

static const char *folder;
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void give_up(const char *what) {
    fprintf(stderr, "record.c: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *trace_path = getenv("RECORD"), *control_path = getenv("RECORD_CONTROL");
    folder = getenv("RECORD_FOLDER");
    if (!trace_path || !control_path || !folder) return;
    int file = REAL(open)(control_path, O_RDWR);
    trace = REAL(open)(trace_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || trace < 0) give_up("the trace cannot be opened");
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) give_up("the trace cannot be shared");
    control = shared;
    /* Of a program that was killed by the last one. */
    atomic_store(&control->busy, 0);
    REAL(close)(file);
}

/* The folder itself, or in it. */
static int is_below(const char *path) {
    size_t prefix = strlen(folder);
    return strncmp(path, folder, prefix) == 0 && (path[prefix] == '/' || path[prefix] == 0);
}

/* The path of an open file, if that is in the folder; the memory of SQLite's processes is no file that counts. */
static int name(int file, char *path) {
    char link[64];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, 4095);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static int is_memory(const char *path) { return strstr(path, "-shm") != NULL; }

static int counts(int file) {
    char path[4096];
    return name(file, path) && !is_memory(path);
}

/* A path as it is from the root on: the folder that it names is there. */
static int absolute(int at, const char *path, char *full) {
    char head[4096], resolved[4096];
    if (!control) return 0;
    if (path[0] == '/' || at == AT_FDCWD) {
        snprintf(head, sizeof head, "%s", path);
    } else {
        char base[4096], link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length <= 0) return 0;
        base[length] = 0;
        snprintf(head, sizeof head, "%.2000s/%.2000s", base, path);
    }
    char *cut = strrchr(head, '/');
    while (cut && cut[1] == 0 && cut > head) *cut = 0, cut = strrchr(head, '/');
    const char *last = cut ? cut + 1 : head;
    if (cut) *cut = 0;
    const char *from = !cut ? "." : cut == head ? "/" : head;
    if (!realpath(from, resolved)) return 0;
    snprintf(full, 4096, "%.2000s/%.2000s", resolved, last);
    return is_below(full) && !is_memory(full);
}

static uint64_t inode(int file) {
    struct stat found;
    if (fstat(file, &found)) give_up("a file that is open cannot be looked at");
    return found.st_ino;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = REAL(write)(trace, at, length);
        if (done < 0) give_up("the trace cannot be written");
        at += done, length -= (size_t)done;
    }
}

/* An entry: five numbers, then a path (of a rename two, with a zero between them), then bytes. */
static void note(uint64_t kind, uint64_t file, uint64_t at, const char *path, size_t path_length,
                 const void *bytes, size_t length) {
    uint64_t head[5] = {kind, file, at, path_length, length};
    put(head, sizeof head);
    put(path, path_length);
    put(bytes, length);
    if (atomic_fetch_add(&control->done, 1) + 1 == control->die_at) kill(getpid(), SIGKILL);
}

static void enter(void) {
    pthread_mutex_lock(&lock);
    if (!control) return;
    for (;;) {
        atomic_store(&control->busy, 1);
        if (!atomic_load(&control->hold)) return;
        atomic_store(&control->busy, 0);
        usleep(1000);
    }
}

static void leave(void) {
    if (control) atomic_store(&control->busy, 0);
    pthread_mutex_unlock(&lock);
}

#define LOCKED(type, result, ...)      \
    {                                  \
        type result;                   \
        enter();                       \
        __VA_ARGS__                    \
        int kept = errno;              \
        leave();                       \
        errno = kept;                  \
        return result;                 \
    }

static int open_file(int at, const char *path, int flags, mode_t mode) {
    char full[4096];
    if (!(flags & (O_CREAT | O_TRUNC)) || !absolute(at, path, full)) {
        return REAL(openat)(at, path, flags, mode);
    }
    if ((flags & (O_TMPFILE & ~O_DIRECTORY)) || (flags & (O_DSYNC | O_SYNC))) give_up("a file of an unknown kind is opened");
    LOCKED(int, file, {
        int is_new = faccessat(at, path, F_OK, 0) != 0;
        file = REAL(openat)(at, path, flags, mode);
        if (file >= 0 && is_new) note(CREATE, inode(file), 0, full, strlen(full), "", 0);
        if (file >= 0 && !is_new && (flags & O_TRUNC)) note(TRUNCATE, inode(file), 0, "", 0, "", 0);
    })
}

#define OPENS(name, head, at)                                        \
    {                                                                \
        mode_t mode = 0;                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list rest;                                            \
            va_start(rest, flags);                                   \
            mode = va_arg(rest, mode_t);                             \
            va_end(rest);                                            \
        }                                                            \
        return open_file(at, path, flags, mode);                     \
    }

int open(const char *path, int flags, ...) OPENS(open, (path, flags), AT_FDCWD)
int open64(const char *path, int flags, ...) OPENS(open64, (path, flags), AT_FDCWD)
int openat(int at, const char *path, int flags, ...) OPENS(openat, (at, path, flags), at)
int openat64(int at, const char *path, int flags, ...) OPENS(openat64, (at, path, flags), at)
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Where a write without a place goes to. */
static uint64_t position(int file) {
    int flags = fcntl(file, F_GETFL);
    off_t at = flags & O_APPEND ? lseek(file, 0, SEEK_END) : lseek(file, 0, SEEK_CUR);
    if (at < 0) give_up("a file has no place");
    return (uint64_t)at;
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (!counts(file)) return REAL(write)(file, bytes, length);
    LOCKED(ssize_t, done, {
        uint64_t at = position(file);
        done = REAL(write)(file, bytes, length);
        if (done > 0) note(WRITE, inode(file), at, "", 0, bytes, (size_t)done);
    })
}

static ssize_t write_at(int file, const void *bytes, size_t length, off_t at) {
    if (!counts(file)) return REAL(pwrite)(file, bytes, length, at);
    LOCKED(ssize_t, done, {
        done = REAL(pwrite)(file, bytes, length, at);
        if (done > 0) note(WRITE, inode(file), (uint64_t)at, "", 0, bytes, (size_t)done);
    })
}
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return write_at(file, bytes, length, at); }
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) { return write_at(file, bytes, length, at); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (!counts(file)) return REAL(writev)(file, parts, count);
    /* As many calls as there are parts: fewer bytes than asked for is what a caller has to expect. */
    return count > 0 ? write(file, parts[0].iov_base, parts[0].iov_len) : 0;
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
    if (!counts(file)) return REAL(pwritev)(file, parts, count, at);
    return count > 0 ? write_at(file, parts[0].iov_base, parts[0].iov_len, at) : 0;
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
    return pwritev(file, parts, count, at);
}

static int resize(int file, off_t length) {
    if (!counts(file)) return REAL(ftruncate)(file, length);
    LOCKED(int, done, {
        done = REAL(ftruncate)(file, length);
        if (done == 0) note(TRUNCATE, inode(file), (uint64_t)length, "", 0, "", 0);
    })
}
int ftruncate(int file, off_t length) { return resize(file, length); }
int ftruncate64(int file, off64_t length) { return resize(file, length); }

static int sync_file(int file, int (*real)(int)) {
    if (!counts(file)) return real(file);
    LOCKED(int, done, {
        done = real(file);
        if (done == 0) note(SYNC, inode(file), 0, "", 0, "", 0);
    })
}
int fsync(int file) { return sync_file(file, REAL(fsync)); }
int fdatasync(int file) { return sync_file(file, REAL(fdatasync)); }

static int remove_at(int at, const char *path, int flags) {
    char full[4096];
    if (!absolute(at, path, full)) return REAL(unlinkat)(at, path, flags);
    LOCKED(int, done, {
        done = REAL(unlinkat)(at, path, flags);
        if (done == 0) note(UNLINK, 0, 0, full, strlen(full), "", 0);
    })
}
int unlink(const char *path) { return remove_at(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_at(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int at, const char *path, int flags) { return remove_at(at, path, flags); }

static int rename_at(int from_at, const char *from, int to_at, const char *to) {
    char both[8192];
    if (!absolute(from_at, from, both)) return REAL(renameat)(from_at, from, to_at, to);
    size_t first = strlen(both) + 1;
    if (!absolute(to_at, to, both + first)) give_up("a file leaves the folder");
    LOCKED(int, done, {
        done = REAL(renameat)(from_at, from, to_at, to);
        if (done == 0) note(RENAME, 0, 0, both, first + strlen(both + first), "", 0);
    })
}
int rename(const char *from, const char *to) { return rename_at(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return rename_at(from_at, from, to_at, to); }

int mkdir(const char *path, mode_t mode) {
    char full[4096];
    if (!absolute(AT_FDCWD, path, full)) return REAL(mkdir)(path, mode);
    LOCKED(int, done, {
        done = REAL(mkdir)(path, mode);
        struct stat found;
        if (done == 0 && stat(full, &found)) give_up("a new folder cannot be looked at");
        if (done == 0) note(FOLDER, found.st_ino, 0, full, strlen(full), "", 0);
    })
}

/* What would change the folder in a way that the trace has no entry for. */
#define REFUSE(what, inside) if (inside) give_up(what " is not recorded")

static int names(const char *path) {
    char full[4096];
    return absolute(AT_FDCWD, path, full);
}

int fallocate(int file, int mode, off_t at, off_t length) {
    REFUSE("fallocate", counts(file));
    return REAL(fallocate)(file, mode, at, length);
}
int posix_fallocate(int file, off_t at, off_t length) {
    REFUSE("posix_fallocate", counts(file));
    return REAL(posix_fallocate)(file, at, length);
}
int truncate(const char *path, off_t length) {
    REFUSE("truncate", names(path));
    return REAL(truncate)(path, length);
}
int link(const char *from, const char *to) {
    REFUSE("link", names(to));
    return REAL(link)(from, to);
}
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    REFUSE("linkat", names(to));
    return REAL(linkat)(from_at, from, to_at, to, flags);
}
int symlink(const char *from, const char *to) {
    REFUSE("symlink", names(to));
    return REAL(symlink)(from, to);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    REFUSE("renameat2", names(from) || names(to));
    return REAL(renameat2)(from_at, from, to_at, to, flags);
}
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags) {
    REFUSE("copy_file_range", counts(to));
    return REAL(copy_file_range)(from, from_at, to, to_at, length, flags);
}
FILE *fopen(const char *path, const char *mode) {
    REFUSE("fopen", mode[0] != 'r' && names(path));
    return REAL(fopen)(path, mode);
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

static void *map(void *where, size_t length, int protection, int flags, int file, off_t at) {
    REFUSE("a map that is written", file >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && counts(file));
    return REAL(mmap)(where, length, protection, flags, file, at);
}
void *mmap(void *where, size_t length, int protection, int flags, int file, off_t at) {
    return map(where, length, protection, flags, file, at);
}
void *mmap64(void *where, size_t length, int protection, int flags, int file, off64_t at) {
    return map(where, length, protection, flags, file, at);
}
